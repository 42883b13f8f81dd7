"""Tools that load and judge a running gateway: a fake worker, a load generator, reports.

`python -m loadtest.fake_worker` speaks vLLM's wire and does what its script says;
`python -m loadtest.fleet` runs several of them, to be killed, paused and told to fail;
`python -m loadtest.chaos` checks answers while workers, Redis and configuration break;
`python -m loadtest.bench` measures what the gateway adds to a request;
`python -m loadtest.quality` measures how often its answers are right and what they cost.
"""

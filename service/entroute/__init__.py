"""An OpenAI-compatible gateway that spends just enough test-time compute on every request.

The walk, in the order a request takes it (see `entroute.gateway`):

    1 cache.get            seen before? then answer
    2 difficulty.estimate  how hard is it?
    3 routing.decide       which tier, which strategy, how much?
    4 strategy.run         spend it on backends, judge with verifiers
    5 cache.put
    6 telemetry.record     metrics and one log line, from the finished Trace
"""

__version__ = "0.1.0"

import asyncio, io, sys
import pytest
from tests.api.test_deadlines import *
from tests.api.test_deadlines import LOOPS
from tests.api.conftest import fake_workers, http, workers, shared_gateway, gateway, serve
pytestmark = pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("i", range(3))
async def test_probe(sandboxed, workers, i):
    for worker in (workers.small, workers.large):
        await worker.script(rules=LOOPS)
    ws = [way for way in WAYS if way.sandboxed]
    ts = {w.kind: asyncio.create_task(ended(sandboxed, w, **IN_TIME)) for w in ws}
    await asyncio.wait(ts.values(), timeout=5)
    for k,t in ts.items(): print("PROBE",k, t.done() and not t.exception() and (t.result().how, round(t.result().seconds,2)), file=sys.stderr)
    if not all(t.done() for t in ts.values()):
        for t in asyncio.all_tasks():
            b=io.StringIO(); t.print_stack(file=b); print("PROBE-STACK", b.getvalue()[-1500:], file=sys.stderr)
        assert 0

"""Reading what other servers answer, no more of it than is sensible."""

import httpx

AS_IT_IS = {"accept-encoding": "identity"}
"""Header that asks for a body that is not packed: a small one unpacks to a huge one."""

_CHUNK = 65_536


async def read_body(response: httpx.Response, most: int) -> bytes:
    """Return the body of a response that is being streamed.

    Args:
        response: Asked for with `AS_IT_IS`.
        most: Bytes that it may have.

    Raises:
        ValueError: It has more.
        HTTPError: The connection failed.
    """
    read = bytearray()
    async for chunk in response.aiter_raw(_CHUNK):
        read += chunk
        if len(read) > most:
            raise ValueError("the answer is too large")
    return bytes(read)

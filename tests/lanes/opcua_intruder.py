"""A client without a certificate that goes as far as the server lets it: prints what each way in came to.

`session`: it opens a session of its own. `takeover`: it activates the session of somebody else, whose token it guesses.
"""

import asyncio
import sys

from asyncua import Client, ua
from asyncua.client.ua_client import UaClient


async def _try(name, attempt):
    try:
        await attempt
    except ua.UaStatusCodeError as refused:
        print(f"{name}:{ua.status_codes.get_name_and_doc(refused.code)[0]}")
    else:
        print(f"{name}:entered")


async def _session(url):
    client = Client(url)
    await client.connect_socket()
    await client.send_hello()
    await client.open_secure_channel()
    await client.create_session()
    await client.activate_session()


async def _takeover(url):
    client = Client(url)
    await client.connect_socket()
    await client.send_hello()
    await client.open_secure_channel()
    session = client.uaclient
    assert isinstance(session, UaClient)
    session.protocol.authentication_token = ua.NodeId(1001)
    await client.activate_session()


async def main():
    url = f"opc.tcp://127.0.0.1:{sys.argv[1]}/goldline"
    await _try("session", _session(url))
    await _try("takeover", _takeover(url))


asyncio.run(main())

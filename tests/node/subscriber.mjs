// A reader that misses nothing, in another language, by docs/events.md ("To miss nothing") alone.
//
//     node subscriber.mjs LIVE SYNC COUNT [STATION_PUBLIC_KEY PUBLIC_KEY SECRET_KEY]
//
// Prints "NUMBER VERDICT" for each event from the first that is kept, in order, and leaves after COUNT of them.

import { Dealer, Subscriber } from "zeromq"

const [liveAddress, syncAddress, count, serverKey, publicKey, secretKey] = process.argv.slice(2)
const keys = serverKey ? { curveServerKey: serverKey, curvePublicKey: publicKey, curveSecretKey: secretKey } : {}
const options = {
  ...keys,
  linger: 0,
  reconnectInterval: 100,
  reconnectMaxInterval: 2000,
  connectTimeout: 2000,
  tcpKeepalive: 1,
  tcpKeepaliveIdle: 1,
  tcpKeepaliveInterval: 1,
  tcpKeepaliveCount: 2,
  tcpMaxRetransmitTimeout: 2000,
}

const DURABLE = 1
const ANSWER_MS = 3000
const live = new Subscriber(options)
const sync = new Dealer({ ...options, receiveTimeout: ANSWER_MS, sendTimeout: ANSWER_MS, immediate: true })

let stream = null // as in the header: 16 bytes, hexadecimal
let streamName = null // as in JSON
let last = 0
let head = 0
let liveHeard = Date.now()
let isWelcome = false
let requests = 0
let printed = 0
const aside = new Map()

function parse(header) {
  if (header.length !== 43 || header[0] !== 1) return null
  return {
    isEvent: (header[1] & DURABLE) !== 0,
    stream: header.subarray(3, 19).toString("hex"),
    sequence: Number(header.readBigUInt64BE(19)),
  }
}

function print(sequence, body) {
  const event = JSON.parse(body)
  if (Number(event.sequence) !== sequence) throw new Error(`body of ${event.sequence} under the number ${sequence}`)
  console.log(sequence, event.data.verdict)
  last = sequence
  printed += 1
}

// Steps 3 and 4.
function take(named, body) {
  head = Math.max(head, named.sequence)
  if (!named.isEvent || named.sequence <= last) return
  if (aside.size < 1000 || named.sequence === last + 1) aside.set(named.sequence, body)
  while (aside.has(last + 1)) {
    const next = aside.get(last + 1)
    aside.delete(last + 1)
    print(last + 1, next)
  }
}

async function ask(verb, words) {
  const id = ++requests
  try {
    await sync.send([verb, JSON.stringify({ ...words, id })])
    for (;;) {
      const [answer, json, ...frames] = await sync.receive()
      const told = JSON.parse(json)
      // An answer to what was asked before, and given up, is let go.
      if (told.id === id) return [answer.toString(), told, frames]
    }
  } catch (problem) {
    if (problem.code === "EAGAIN") return [null, null, []]
    throw problem
  }
}

// Steps 1 and 2.
async function hello() {
  const before = last
  const [answer, told] = await ask("HELLO", { versions: [1], consumer: "node" })
  if (answer !== "WELCOME") return
  if (streamName !== null && told.stream !== streamName) {
    console.error(`a new outbox: ${told.stream}`)
    last = 0
    aside.clear()
  }
  if (told.stream === streamName && told.head < before) throw new Error("the outbox is an older copy of itself")
  streamName = told.stream
  stream = streamName.replaceAll("-", "")
  head = told.head
  isWelcome = true
}

// Steps 5 and 6.
async function fetchMissing() {
  const [answer, told, frames] = await ask("FETCH", { stream: streamName, from: last + 1 })
  if (answer === "BATCH") {
    head = Math.max(head, told.head)
    for (let at = 0; at < frames.length; at += 3) take(parse(frames[at + 1]), frames[at + 2])
  } else if (answer === "GONE") {
    console.error(`gone: ${told.first} to ${told.last}`)
    last = told.last
  } else if (answer === "ERR" && told.code === "stream") {
    isWelcome = false
  }
}

async function hear() {
  for await (const [, header, body] of live) {
    const named = parse(header)
    if (named === null) continue
    // Step 7.
    if (named.stream !== stream) isWelcome = false
    else {
      liveHeard = Date.now()
      take(named, body)
    }
  }
}

live.connect(liveAddress)
live.subscribe("goldline.v1.")
sync.connect(syncAddress)
hear()
let acknowledged = 0
while (printed < Number(count)) {
  if (!isWelcome) await hello()
  else if (head > last || Date.now() - liveHeard > 2000) await fetchMissing()
  else await new Promise(resolve => setTimeout(resolve, 20))
  // Step 8.
  if (isWelcome && last >= acknowledged + 100) {
    await ask("ACK", { stream: streamName, consumer: "node", upto: last })
    acknowledged = last
  }
}
if (isWelcome) await ask("ACK", { stream: streamName, consumer: "node", upto: last })
process.exit(0)

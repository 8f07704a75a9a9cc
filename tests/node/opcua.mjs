// An OPC UA client that knows nothing of Goldline but its address and the companion specification.
//
//   node opcua.mjs URL PKI watch                 prints each event, one JSON object a line, until it is killed
//   node opcua.mjs URL PKI stay                  the same, and connects again by itself whenever the server goes; calls
//                                                a method for each line of its input: [NUMBER, PATH, ARGS...]
//   node opcua.mjs URL PKI call PATH [ARGS...]   calls a method; ARGS are JSON; prints its status and outputs
//   node opcua.mjs URL PKI read PATH...          prints values by their path below VisionSystem
//
// When the server goes while it watches, `watch` ends: who started it starts another.
// PKI is a folder of its own; `secure` as the last word asks for SignAndEncrypt with the certificate in it.

import path from "node:path";
import readline from "node:readline";
import {
  AttributeIds, ClientSubscription, MessageSecurityMode, OPCUAClient, SecurityPolicy, TimestampsToReturn,
  coerceNodeId, constructEventFilter,
} from "node-opcua-client";
import { OPCUACertificateManager } from "node-opcua-certificate-manager";
import { DataType, Variant, VariantArrayType } from "node-opcua-variant";

const COMPANION = "http://opcfoundation.org/UA/MachineVision";
const words = process.argv.slice(2);
const isSecure = words.at(-1) === "secure" && words.pop();
const [url, pki, verb, ...rest] = words;
const say = (value) => console.log(JSON.stringify(value, (_, one) => (typeof one === "bigint" ? String(one) : one)));

const certificates = new OPCUACertificateManager({ rootFolder: pki, automaticallyAcceptUnknownCertificate: true });
await certificates.initialize();
const client = OPCUAClient.create({
  applicationName: "peer",
  endpointMustExist: false,
  securityMode: isSecure ? MessageSecurityMode.SignAndEncrypt : MessageSecurityMode.None,
  securityPolicy: isSecure ? SecurityPolicy.Basic256Sha256 : SecurityPolicy.None,
  clientCertificateManager: certificates,
  certificateFile: path.join(pki, "own/certs/peer.pem"),
  privateKeyFile: certificates.privateKey,
  connectionStrategy: { maxRetry: verb === "stay" ? -1 : 1, initialDelay: 100, maxDelay: 1000 },
  keepSessionAlive: true,
});

async function find(session, names) {
  // Below Objects, by browse names alone.
  let node = coerceNodeId("ns=0;i=85");
  for (const name of ["VisionSystem", ...names]) {
    const found = (await session.browse(node)).references.find((one) => one.browseName.name === name);
    if (!found) throw new Error(`no ${name} below ${node}`);
    node = found.nodeId;
  }
  return node;
}

function argument(given) {
  if (given === null) return new Variant({ dataType: DataType.Null });
  if (typeof given === "string") return new Variant({ dataType: DataType.String, value: given });
  if (typeof given === "number") return new Variant({ dataType: DataType.Int32, value: given });
  if (Array.isArray(given)) {
    const value = given.map((one) => new Variant({ dataType: DataType.String, value: one }));
    return new Variant({ dataType: DataType.Variant, arrayType: VariantArrayType.Array, value });
  }
  return given;
}

async function structure(session, index, given) {
  // {"PartIdDataType": {"id": "A17"}}: a structure of the companion specification.
  const [name, fields] = Object.entries(given)[0];
  const types = { RecipeIdExternalDataType: 3002, ProductIdDataType: 3003, PartIdDataType: 3004, ResultIdDataType: 3021 };
  const value = await session.constructExtensionObject(coerceNodeId(`ns=${index};i=${types[name]}`), fields);
  return new Variant({ dataType: DataType.ExtensionObject, value });
}

async function answerOf(session, index, method, given) {
  const names = method.split(".");
  const objectId = await find(session, names.slice(0, -1));
  const methodId = await find(session, names);
  const inputArguments = [];
  for (const one of given) {
    const isStructure = one !== null && typeof one === "object" && !Array.isArray(one);
    inputArguments.push(isStructure ? await structure(session, index, one) : argument(one));
  }
  const answer = await session.call({ objectId, methodId, inputArguments });
  return { status: answer.statusCode.name, outputs: (answer.outputArguments ?? []).map((one) => one.value) };
}

async function call(session, index) {
  say(await answerOf(session, index, rest[0], rest.slice(1).map((text) => JSON.parse(text))));
}

async function stay(session, index) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", async (line) => {
    const [number, method, ...given] = JSON.parse(line);
    // What is lost with a connection is told as such: it may have been done.
    say({ answered: number, ...(await answerOf(session, index, method, given).catch((lost) => ({ lost: lost.message }))) });
  });
  await watch(session, index);
}

async function read(session) {
  for (const text of rest) {
    const value = await session.read({ nodeId: await find(session, text.split(".")), attributeId: AttributeIds.Value });
    say({ path: text, status: value.statusCode.name, value: value.value.value });
  }
}

async function watch(session, index) {
  if (verb === "watch") client.on("connection_lost", () => process.exit(1));
  const subscription = ClientSubscription.create(session, {
    requestedPublishingInterval: 20, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 50,
    maxNotificationsPerPublish: 1000, publishingEnabled: true, priority: 1,
  });
  const fields = ["EventType", "Time", "Message", "ResultId", "PartId", "ResultState", "IsPartial", "InternalRecipeId",
    "JobId", "CreationTime", "ProcessingTimes", "ResultContent"];
  const filter = constructEventFilter(fields.map((name, at) => (at < 3 ? name : `${index}:${name}`)));
  const item = await subscription.monitor(
    { nodeId: await find(session, []), attributeId: AttributeIds.EventNotifier },
    { samplingInterval: 0, queueSize: 10000, discardOldest: false, filter }, TimestampsToReturn.Both,
  );
  item.on("changed", (event) => {
    const kind = event[0].value.value;
    const named = Object.fromEntries(fields.map((name, at) => [name, event[at].value]));
    say({ kind, heard: Date.now(), ...named, ResultContent: (event[11].value ?? []).map((one) => one.value) });
  });
  say({ watching: true });
  await new Promise(() => {});
}

try {
  await client.createDefaultCertificate();
  await client.connect(url);
  const session = await client.createSession();
  const index = (await session.readNamespaceArray()).indexOf(COMPANION);
  await { watch, stay, call, read }[verb](session, index);
  await session.close();
  await client.disconnect();
  process.exit(0);
} catch (problem) {
  say({ error: problem.message });
  process.exit(1);
}

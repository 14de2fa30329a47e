// A walk with a client whose types are generated from the document of the API: `node built/walk.js URL`.
// That it compiles is half of the check.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Message = components["schemas"]["Message"];

const url = process.argv[2];
const { ADMIN_USERNAME: user, ADMIN_PASS: password } = process.env;
if (!url || !user || !password) {
  throw new Error("usage: ADMIN_USERNAME=… ADMIN_PASS=… node built/walk.js URL");
}

const client = createClient<paths>({ baseUrl: url });

// The data of an answer that has to be a success.
function done<T>(answer: { data?: T; error?: unknown; response: Response }): NonNullable<T> {
  assert.ok(answer.data, `${answer.response.url}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  return answer.data;
}

const login = done(await client.POST("/api/v1/login", { body: { user, password } }));
client.use({
  onRequest({ request }) {
    request.headers.set("X-Auth-Token", login.data.authToken);
    request.headers.set("X-User-Id", login.data.userId);
    return request;
  },
});

const me = done(await client.GET("/api/v1/me"));
assert.equal(me.username, user);

const name = `typed-${process.pid}`;
const { channel } = done(await client.POST("/api/v1/channels.create", { body: { name } }));
assert.equal(channel.name, name);

const said: Message[] = [];
for (const msg of ["one", "two", "three"]) {
  const body = { message: { rid: channel._id, msg } };
  said.push(done(await client.POST("/api/v1/chat.sendMessage", { body })).message);
}

const history = done(
  await client.GET("/api/v1/channels.history", { params: { query: { roomId: channel._id, count: 2 } } }),
);
assert.deepEqual(history.messages.map((message) => message.msg), ["three", "two"]);

const first = said[0];
assert.ok(first);
const update = { roomId: channel._id, msgId: first._id, text: "once" };
const { message } = done(await client.POST("/api/v1/chat.update", { body: update }));
assert.equal(message.editedBy?.username, user);

const rooms = done(await client.GET("/api/v1/rooms.get"));
assert.ok(rooms.update.some((room) => room._id === channel._id));

const events = done(await client.GET("/api/hansard/v1/events", { params: { query: { limit: 1000 } } }));
assert.ok(typeof events !== "string");
assert.ok(events.events.some((event) => event.type === "MessageEdited"));

const refused = await client.GET("/api/v1/channels.info", { params: { query: { roomId: "nowhere" } } });
assert.equal(refused.response.status, 400);
assert.ok(refused.error && "errorType" in refused.error);
assert.equal(refused.error.errorType, "error-room-not-found");

console.log(`a typed client walked: ${said.length} messages in #${channel.name}`);

/** States where there is no browser: nothing is stored, no other tab asked, and the process may end. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { StateChannel } from "../dist/states/channel.js";
import { openStateDatabase } from "../dist/states/database.js";
import { StateLocks } from "../dist/states/locks.js";

test("without IndexedDB, opening the database is an error that says so", async () => {
  await assert.rejects(openStateDatabase("states"), (error) => {
    assert.equal(error.code, "storage-error");
    assert.match(error.message, /IndexedDB is not available/);
    return true;
  });
});

test("calls for one state queue in order, those for others do not wait", async () => {
  const locks = new StateLocks("queue", new StateChannel("queue"));
  const events = [];
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const work = (name) => async ({ stolen }) => {
    events.push(`${name} begins`);
    await turn();
    await turn();
    events.push(`${name} ends`);
    assert.equal(stolen, false);
    if (name === "a2") throw new Error("of the work");
    return name;
  };
  const controller = new AbortController();
  const calls = [
    locks.withWriter("a", undefined, work("a1")),
    locks.withWriter("a", controller.signal, work("aborted")),
    locks.withWriter("a", undefined, work("a2")),
    locks.withWriter("a", undefined, work("a3")),
    locks.withWriter("b", undefined, work("b1")),
  ];
  controller.abort();
  const results = await Promise.allSettled(calls);
  assert.deepEqual(
    results.map(({ value, reason }) => value ?? reason.code ?? reason.message),
    ["a1", "aborted", "of the work", "a3", "b1"],
  );
  assert.deepEqual(events.filter((event) => event.startsWith("a")), [
    ...["a1 begins", "a1 ends", "a2 begins", "a2 ends", "a3 begins", "a3 ends"],
  ]);
  assert.ok(events.indexOf("b1 begins") < events.indexOf("a1 ends"));
});

test("an open channel does not keep the process alive", async () => {
  const url = new URL("../dist/states/channel.js", import.meta.url);
  const script = `
    const { StateChannel } = await import(${JSON.stringify(url)});
    const channel = new StateChannel("test");
    channel.onchange(() => undefined);
    channel.announce({ changed: ["a"], deleted: [] });
  `;
  await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], { timeout: 60_000 });
});

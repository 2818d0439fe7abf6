/**
 * The demo's states as a visitor works them: what is written is kept, forked,
 * gone back in, compared, merged, carried over by file, and there again after
 * a reload without being computed anew.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { assertAccessible, assertFits } from "./lib/accessible.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { DEMO } from "./lib/paths.mjs";

const browser = await launch();
const folder = mkdtempSync(join(tmpdir(), "cacher-states-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** Long enough that reading it again would show. */
const PROMPT = [
  "Once upon a time, a small lighthouse stood at the edge of the sea, and in it lived an old man and his cat.",
  "Every evening he climbed the stairs, lit the lamp and looked out over the waves, and every morning he put it out.",
  "The cat slept by the stove, for the stairs were long and she had seen the sea often enough to know that it stayed.",
].join(" ");

test("states", { timeout: 4 * TIMEOUT_MS }, async (t) => {
  const server = await serve(DEMO);
  t.after(() => server.close());
  const { page, demo, problems } = await openDemo(await browser.newContext(), server.url);
  const { states } = demo;
  const button = (name) => states.getByRole("button", { name, exact: true });
  const whole = () => demo.output.textContent();
  const remove = async (name) => {
    await states.getByRole("button", { name: `Delete ${name}` }).click();
    await demo.act(button("Delete for good"), `Deleted “${name}”.`);
  };
  let written;
  let exported;

  await t.test("before a model is loaded, the panel offers to load one", async () => {
    await states.getByText("States live in the model’s engine.").waitFor();
    assert.equal(await states.getByTestId("state-list").count(), 0);
    await demo.loadModel();
    assert.equal(await demo.stateCount(), 0);
    assert.equal(await demo.output.textContent(), "");
  });

  await t.test("a generation makes a state of prompt and text", async () => {
    const text = await demo.run({ prompt: PROMPT, seed: 42, maxTokens: 16 });
    written = PROMPT + text;
    assert.equal(await whole(), written);
    assert.equal(await demo.stateCount(), 1);
    assert.deepEqual(await demo.operations(), ["Generated", "Created"]);
    await demo.nameState("Lighthouse");
    assert.equal(await states.getByTestId("state-name").textContent(), "Lighthouse");
  });

  await t.test("continuing goes on with it and computes little of what is there", async () => {
    const text = await demo.continue();
    assert.equal(await whole(), written + text);
    written += text;
    assert.equal(await demo.stateCount(), 1);
    assert.deepEqual(await demo.operations(), ["Generated", "Changed", "Generated", "Created"]);
    assertRestored(await states.getByTestId("restored").textContent());
    assert.match(await page.getByTestId("evaluated").textContent(), /^\d+ of \d+$/);
  });

  await t.test("settings that were changed since are part of the history", async () => {
    await page.getByLabel("Temperature", { exact: true }).fill("1.2");
    written += await demo.continue();
    assert.deepEqual((await demo.operations()).slice(0, 2), ["Generated", "Changed"]);
    await (await demo.view("History")).getByText("temperature: 0.7 → 1.2").waitFor();
  });

  await t.test("a checkpoint is set, and a step back undoes what came after it", async () => {
    await button("Checkpoint…").click();
    await states.getByLabel("Name of the checkpoint").fill("before the storm");
    await demo.act(button("Set checkpoint"), "Checkpoint “before the storm” set.");
    await demo.continue();
    assert.notEqual(await whole(), written);
    await button("Roll back…").click();
    await states.getByLabel("Roll back to").selectOption({ label: "1 step back" });
    await demo.act(button("Roll back"), "Rolled back.");
    assert.equal(await whole(), written);
    assert.equal((await demo.operations())[0], "Rolled back");
  });

  await t.test("the graph has every revision, and one can go back from it by keyboard", async () => {
    const panel = await demo.view("Graph");
    const rows = panel.getByTestId("graph").getByRole("button");
    await page.waitForFunction(() => document.querySelectorAll('[data-testid="graph-lines"] path').length > 0);
    const count = await rows.count();
    assert.equal(count, (await demo.operations()).length);
    await demo.view("Graph");
    await rows.first().focus();
    await page.keyboard.press("End");
    assert.match(await page.evaluate(() => document.activeElement.textContent), /^\s*Created, \d+ tokens:\s+Once upon a time/);
    await page.keyboard.press("Enter");
    const card = panel.getByTestId("revision-card");
    await card.getByText(PROMPT).waitFor();
    await demo.act(card.getByRole("button", { name: "Roll back to here" }), "Rolled back.");
    assert.equal(await whole(), PROMPT);
    await card.focus();
    await page.keyboard.press("Escape");
    await card.waitFor({ state: "detached" });
    // What was rolled back is not lost.
    await button("Roll back…").click();
    await states.getByLabel("Roll back to").selectOption({ label: "before the storm" });
    await demo.act(button("Roll back"), "Rolled back.");
    assert.equal(await whole(), written);
  });

  await t.test("a former text can be looked at without going back", async () => {
    const panel = await demo.view("Graph");
    await panel.getByTestId("graph").getByRole("button").last().click();
    await panel.getByRole("button", { name: "Show text" }).click();
    await states.getByText(/^As of revision/).waitFor();
    assert.equal(await states.getByTestId("tokens").textContent(), PROMPT);
    assert.equal(await whole(), written);
    await button("Back to the head").click();
    assert.equal(await states.getByTestId("tokens").textContent(), written);
  });

  await t.test("a fork from a token keeps what is before it and leaves the original", async () => {
    const tokens = (await demo.view("Text")).getByRole("option");
    const kept = (await tokens.allTextContents()).slice(0, 6).join("");
    await tokens.nth(5).click();
    await states.getByText(/^Keeps 6 tokens/).waitFor();
    await demo.act(states.getByTestId("fork-here"), "Forked.");
    assert.equal(await whole(), kept);
    assert.ok(PROMPT.startsWith(kept));
    assert.equal(await demo.stateCount(), 2);
    await demo.nameState("Another way");
    await demo.continue();
    await demo.openState("Lighthouse");
    assert.equal(await whole(), written);
    assert.equal(await page.getByLabel("Temperature", { exact: true }).inputValue(), "1.2");
  });

  await t.test("a difference is told by signs as well as by colour", async () => {
    const panel = await demo.view("Compare");
    await panel.getByLabel("Second").selectOption({ label: "Another way" });
    await panel.getByRole("button", { name: "Compare" }).click();
    await panel.getByTestId("diff").waitFor();
    assert.match(await panel.getByTestId("diff-a").locator("del").first().textContent(), /^−/);
    assert.match(await panel.getByTestId("diff-b").locator("ins").first().textContent(), /^\+/);
    assert.ok(parseInt(await panel.getByTestId("shared").textContent(), 10) >= 6);
    await panel.getByText("Settings that differ").waitFor();
  });

  await t.test("a merge asks what it cannot decide", async () => {
    // Two texts that go on differently from the same place.
    await (await demo.view("Graph")).getByTestId("graph").getByRole("button").last().click();
    await demo.act(button("Fork here"), "Forked.");
    assert.equal(await whole(), PROMPT);
    await demo.nameState("Another ending");
    assert.ok((await demo.continue()).length > 0);
    await demo.openState("Lighthouse");
    const count = await demo.stateCount();

    const panel = await demo.view("Merge");
    await panel.getByRole("checkbox", { name: /^Another ending/ }).check();
    await panel.getByTestId("merge").click();
    await panel.getByTestId("conflicts").waitFor();
    assert.match(await states.getByTestId("states-error").textContent(), /Error code: merge-conflict/);
    const place = panel.getByRole("group", { name: /^Place 1 of/ });
    await place.getByRole("radio", { name: "My own text" }).check();
    await place.getByRole("textbox").fill(" And so it went.");
    await demo.act(panel.getByTestId("merge-resolved"), "Merged.");
    assert.equal((await states.getByTestId("states-error").textContent()).trim(), "");
    assert.match(await whole(), /^Once upon a time.* And so it went\./s);
    assert.equal(await demo.stateCount(), count + 1);
    assert.equal((await demo.operations())[0], "Merged");
    await demo.nameState("Both ways");
  });

  for (const form of ["without the cache: small", "as JSON, to read", "with the cache: large, goes on at once"]) {
    await t.test(`a state goes into a file and comes back, ${form}`, async () => {
      await demo.openState("Lighthouse");
      await states.getByLabel("Form of the export").selectOption({ label: form });
      const [download] = await Promise.all([page.waitForEvent("download"), demo.act(button("Export"), "Exported.")]);
      exported = join(folder, download.suggestedFilename());
      assert.match(exported, /lighthouse\.(cacher|states\.json)$/);
      await download.saveAs(exported);
      const count = await demo.stateCount();
      await remove("Lighthouse");
      assert.equal(await demo.stateCount(), count - 1);
      await states.getByLabel(/^Import/).setInputFiles(exported);
      await states.getByTestId("states-done").filter({ hasText: "Imported." }).waitFor();
      assert.equal(await demo.stateCount(), count);
      assert.equal(await whole(), written);
      assert.equal(await states.getByTestId("state-name").textContent(), "Lighthouse");
    });
  }

  await t.test("exported states dropped on the page are imported, and the model stays chosen", async () => {
    await remove("Lighthouse");
    await dropFile(page, exported);
    await states.getByTestId("states-done").filter({ hasText: "Imported." }).waitFor();
    assert.ok(await page.getByRole("radio", { name: "tiny-gpt2" }).isChecked());
    assert.equal(await whole(), written);
  });

  await t.test("a file that holds no states is answered in words", async () => {
    const before = await demo.stateCount();
    await states.getByLabel(/^Import/).setInputFiles({ name: "no.cacher", mimeType: "", buffer: Buffer.from("not states") });
    await states.getByText("Choose a file that this page exported.").waitFor();
    assert.match(await states.getByTestId("states-error").textContent(), /Error code: invalid-state-file/);
    assert.equal(await demo.stateCount(), before);
  });

  await t.test("storage is told", async () => {
    const meter = states.getByTestId("states-storage");
    assert.ok(parseFloat(await meter.getByTestId("states-bytes").textContent()) > 0);
    assert.match(await meter.getByTestId("persisted").textContent(), /kept|may be cleared/);
  });

  await t.test("the list finds a state by a word of its name", async () => {
    await states.getByRole("searchbox").fill("both WAYS");
    await states.getByTestId("states-total").filter({ hasText: /^1$/ }).waitFor();
    await states.getByRole("searchbox").fill("no text has this");
    await states.getByText("No state has that.").waitFor();
    await states.getByRole("searchbox").fill("");
    await states.getByTestId("states-total").filter({ hasNotText: /^0$/ }).waitFor();
  });

  await t.test("after a reload the states are there and go on with little computed", async () => {
    const count = await demo.stateCount();
    // It came from a file without its cache; going on computes and stores it.
    await demo.openState("Lighthouse");
    written += await demo.continue();
    await page.reload();
    await demo.loadModel();
    assert.equal(await demo.stateCount(), count);
    await demo.openState("Both ways");
    await demo.openState("Lighthouse");
    assert.equal(await whole(), written);
    const text = await demo.continue();
    assert.equal(await whole(), written + text);
    assertRestored(await states.getByTestId("restored").textContent());
  });

  await t.test("what one tab does the other shows", async () => {
    const other = await openDemo(page.context(), server.url);
    await other.demo.loadModel();
    const count = await demo.stateCount();
    assert.equal(await other.demo.stateCount(), count);
    await other.demo.run({ prompt: "From the other tab", seed: 1, maxTokens: 4 });
    await states.getByTestId("states-total").filter({ hasText: new RegExp(`^${count + 1}$`) }).waitFor();
    assert.deepEqual(other.problems, []);
    await other.page.close();
  });

  await t.test("a pinned state is marked, a deleted one is gone", async () => {
    await demo.act(states.getByRole("button", { name: "Pin Both ways" }), "Pinned");
    await states.getByTestId("state-list").getByText(/pinned$/).waitFor();
    const count = await demo.stateCount();
    await remove("Both ways");
    assert.equal(await demo.stateCount(), count - 1);
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("the panel is accessible in every view and fits every width", { timeout: 3 * TIMEOUT_MS }, async (t) => {
  const server = await serve(DEMO);
  t.after(() => server.close());
  const { page, demo } = await openDemo(await browser.newContext(), server.url);
  const { states } = demo;
  await page.emulateMedia({ reducedMotion: "reduce" });
  await demo.run({ prompt: "The old lighthouse", seed: 7, maxTokens: 12 });
  await (await demo.view("Text")).getByRole("option").nth(2).click();
  await demo.act(states.getByTestId("fork-here"), "Forked.");
  // The fork's seed is a fresh one: so hot that it does not write the same by chance, which would be no conflict.
  for (const [label, value] of Object.entries({ Temperature: 2, "Top-p": 1, "Top-k": 0 })) {
    await page.getByLabel(label, { exact: true }).fill(String(value));
  }
  await demo.continue();

  const views = {
    async Graph(panel) {
      await panel.getByTestId("graph").getByRole("button").last().click();
      await panel.getByText("As a table").click();
    },
    async Text(panel) {
      await panel.getByRole("option").first().click();
    },
    async History() {},
    async Compare(panel) {
      await panel.getByLabel("Second").selectOption({ index: 2 });
      await panel.getByRole("button", { name: "Compare" }).click();
      await panel.getByTestId("diff").waitFor();
    },
    async Merge(panel) {
      await panel.getByRole("checkbox", { checked: false }).last().check();
      // What goes on in the background may hold it for a moment.
      await panel.locator('[data-testid="merge"][aria-disabled="false"]').click();
      await panel.getByTestId("conflicts").waitFor();
    },
  };
  for (const [name, reach] of Object.entries(views)) {
    await t.test(name, async () => {
      await page.setViewportSize({ width: 1280, height: 800 });
      await reach(await demo.view(name));
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await assertAccessible(page);
      }
      for (const width of [320, 768, 1280]) await assertFits(page, width);
    });
  }
});

/** “Restored: 3 of 512 tokens computed.”: no more than one block of the cache, which 32 tokens are, and what its rest takes. */
function assertRestored(sentence) {
  const [, computed, of] = /^Restored: (\d+) of (\d+) tokens computed\.$/.exec(sentence.trim()) ?? assert.fail(sentence);
  assert.ok(Number(of) > 64, sentence);
  assert.ok(Number(computed) <= 32, sentence);
}

/** Drops a file of the disk onto the page. */
async function dropFile(page, path) {
  const content = readFileSync(path).toString("base64");
  await page.evaluate(
    ({ content, name }) => {
      const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], name));
      document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
    },
    { content, name: basename(path) },
  );
}

/**
 * The demo's options of a generation as a visitor works them: every option of
 * the API has a control, which does what it says, says what is wrong with its
 * value, and is kept from visit to visit.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { serve } from "../../scripts/serve.mjs";
import { assertAccessible, assertFits } from "./lib/accessible.mjs";
import { launch, TIMEOUT_MS } from "./lib/browser.mjs";
import { openDemo } from "./lib/demo.mjs";
import { DEMO, MODELS, PACKAGE } from "./lib/paths.mjs";

const browser = await launch();

const RUN = { prompt: "Once upon a time", seed: 42, maxTokens: 24 };

async function open(t) {
  const server = await serve(DEMO);
  t.after(() => server.close());
  const opened = await openDemo(await browser.newContext(), server.url);
  const { page, demo } = opened;
  await demo.until("idle");
  return { ...opened, option: (label) => page.getByLabel(label, { exact: true }) };
}

/** The names of all options, as the engine lists them where one is unknown. */
async function optionNames() {
  const { Cacher } = await import(join(PACKAGE, "node.js"));
  const cacher = await Cacher.load({ model: join(MODELS, "tiny-gpt2", "/") });
  try {
    const error = await cacher.generate("x", { noSuchOption: 1 }).result.catch((reason) => reason);
    return error.details.range.replace(/^one of /, "").split(", ");
  } finally {
    await cacher.dispose();
  }
}

test("the options of a generation", { timeout: 4 * TIMEOUT_MS }, async (t) => {
  const { page, demo, problems, option } = await open(t);
  /** Sets some options, generates, and sets them back; what came. */
  const runWith = async (group, set) => {
    await demo.group(group);
    await set();
    const text = await demo.run({});
    const status = await demo.status.textContent();
    await demo.options.getByRole("button", { name: "Reset", exact: true }).click();
    await option("Seed").fill(String(RUN.seed));
    await option("Max tokens").fill(String(RUN.maxTokens));
    return { text, status };
  };
  let text;

  await t.test("every option of the API has a control, with its name and its default", async () => {
    const names = await optionNames();
    assert.ok(names.length > 40, names.join());
    const keys = await demo.options.locator("[data-option]").evaluateAll((all) => all.map(({ dataset }) => dataset.option.split(".")[0]));
    for (const name of [...names, "chunk", "highWaterMark", "stopWhen"]) assert.ok(keys.includes(name), `${name} has no control`);
    const defaults = await demo.options.locator(".api").allTextContents();
    for (const line of defaults) assert.match(line, /^[\w.]+ default: ./);
  });

  await t.test("options that end a text end it, and the status says which it was", async () => {
    text = await demo.run(RUN);
    const sentence = await runWith("stopping", () => option("Stop after").selectOption("sentence"));
    assert.match(sentence.status, /The sentence is complete\./);
    assert.match(sentence.text, /[.!?]["”]?$/);
    const [, word] = /(\w{3,})\W+\w*$/.exec(text);
    const stopped = await runWith("stopping", () => option("Stop strings").fill(word));
    assert.match(stopped.status, new RegExp(`The stop string "${word}" appeared`));
    assert.equal(stopped.text, text.slice(0, text.indexOf(word)));
    const pattern = await runWith("stopping", () => option("Stop when").fill("\\w+ \\w+"));
    assert.match(pattern.status, /up to where your condition held/);
    assert.ok(text.startsWith(pattern.text) && pattern.text.length < text.length, pattern.text);
  });

  await t.test("a constraint is kept to", async () => {
    const { text: chosen, status } = await runWith("constraint", async () => {
      await option("The output is").selectOption("choices");
      await option("Allowed texts").fill(" there was a fox\n there lived a hen");
    });
    assert.ok([" there was a fox", " there lived a hen"].includes(chosen), chosen);
    assert.match(status, /What was asked for is complete/);
  });

  await t.test("words that are banned do not come", async () => {
    const words = [...text.matchAll(/ (\w+)/g)].map(([, word]) => word);
    const { text: other } = await runWith("penalties", () => option("Bad words").fill(words.slice(0, 4).join("\n")));
    for (const word of words.slice(0, 4)) assert.doesNotMatch(other, new RegExp(`(^| )${word}\\b`));
    assert.equal(await demo.run({}), text, "reset, all is as before");
  });

  await t.test("heads are taken out, where the model has them", async () => {
    const { text: other } = await runWith("inside", () => option("Heads taken out").fill("0.0, 0.1, 1.0"));
    assert.notEqual(other, text);
    assert.equal(await demo.run({}), text);
    await demo.group("inside");
    await option("Heads taken out").fill("third");
    await page.getByText("a layer, a point and a head").first().waitFor();
    await page.getByRole("button", { name: "Reset Heads taken out" }).click();
  });

  await t.test("a schedule has the parts that it needs, and they are missed", async () => {
    await demo.group("schedules");
    await option("Temperature schedule").selectOption("linear");
    await page.getByText("Is left out, must be given too.").first().waitFor();
    await demo.run({});
    assert.match(await demo.error.textContent(), /temperatureSchedule\.to: is left out.*Error code: invalid-option/s);
    await option("Schedule: to").fill("4");
    await option("Schedule: tokens").fill("1");
    assert.notEqual(await demo.run({}), text);
    await page.getByRole("button", { name: "Reset Temperature schedule" }).click();
    assert.equal(await option("Schedule: to").count(), 0);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), "SELECT", "the keyboard is at the control");
    assert.equal(await demo.run({}), text);
  });

  await t.test("a value out of its range is told at its control, and before anything runs", async () => {
    await option("Top-k").fill("-3");
    await page.getByText("Is -3, must be a whole number of at least 0.").waitFor();
    assert.equal(await option("Top-k").getAttribute("aria-invalid"), "true");
    await demo.options.getByText("1 to put right").waitFor();
    await demo.run({});
    assert.match(await demo.error.textContent(), /topK: is -3, must be a whole number of at least 0\..*Error code: invalid-option/s);
    await page.getByRole("button", { name: "Reset Top-k" }).click();
    assert.equal(await option("Top-k").inputValue(), "50");
    assert.equal(await option("Top-k").getAttribute("aria-invalid"), "false");
  });

  await t.test("what only the engine can tell is told there too, and its group opens", async () => {
    const group = await demo.group("penalties");
    await option("Suppressed tokens").fill("12, 999999");
    await group.locator("summary").click();
    assert.equal(await group.getAttribute("open"), null);
    await demo.run({});
    await page.getByText(/^Must be token ids below \d+\.$/).waitFor();
    assert.notEqual(await group.getAttribute("open"), null);
    await option("Suppressed tokens").fill("12");
    assert.equal(await option("Suppressed tokens").getAttribute("aria-invalid"), "false", "it is typed anew");
    assert.equal((await demo.run({})).length > 0, true);
  });

  await t.test("what is set survives a reload; what is damaged does not", async () => {
    await demo.group("schedules");
    await option("Mirostat").check();
    await option("Mirostat: surprise").fill("3");
    await option("Top-k").fill("7");
    await page.reload();
    await demo.group("schedules");
    await demo.group("penalties");
    assert.ok(await option("Mirostat").isChecked());
    assert.equal(await option("Mirostat: surprise").inputValue(), "3");
    assert.equal(await option("Top-k").inputValue(), "7");
    assert.equal(await option("Suppressed tokens").inputValue(), "12");
    await page.evaluate(() => {
      const kept = JSON.parse(localStorage.getItem("cacher-demo-settings"));
      localStorage.setItem("cacher-demo-settings", JSON.stringify({ ...kept, topK: "many", temperature: { no: 1 } }));
    });
    await page.reload();
    assert.equal(await option("Top-k").inputValue(), "50");
    assert.equal(await option("Temperature").inputValue(), "0.7");
  });

  await t.test("a state brings the options that it was written with", async () => {
    await demo.options.getByRole("button", { name: "Reset", exact: true }).click();
    await demo.group("penalties");
    await option("Frequency penalty").fill("0.5");
    await option("Token bias").fill("-2  the\nnever 13");
    await demo.run(RUN);
    await demo.nameState("With a bias");
    await demo.options.getByRole("button", { name: "Reset", exact: true }).click();
    await demo.run({ prompt: "A cat", seed: 1, maxTokens: 4 });
    await demo.openState("With a bias");
    assert.equal(await option("Frequency penalty").inputValue(), "0.5");
    assert.equal(await option("Token bias").inputValue(), "-2  the\nnever 13");
    await demo.options.getByRole("button", { name: "Reset", exact: true }).click();
  });

  await t.test("the settings can be copied as the call that they stand for", async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await option("Top-k").fill("7");
    await demo.prompt.fill('Say "no"');
    await demo.options.getByRole("button", { name: "Copy as code" }).click();
    const code = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(code, /^const \{ text \} = await cacher\.generate\("Say \\"no\\"", \{\n/);
    assert.match(code, /\n {2}topK: 7,\n/);
  });

  assert.deepEqual(problems, [], "no error and no violation of the page's policy");
});

test("the options are accessible and fit every width, with all that can be wrong", { timeout: TIMEOUT_MS }, async (t) => {
  const { page, option } = await open(t);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.getByTestId("options").locator("details:not([open]) > summary").evaluateAll((all) => all.forEach((one) => one.click()));
  await option("Temperature schedule").selectOption("entropy");
  await option("The output is").selectOption("jsonSchema");
  await option("Mirostat").check();
  await option("Stop in loops").check();
  await option("Top-h").fill("7");
  await page.getByText("Is 7, must be above 0 and at most 1.").waitFor();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await assertAccessible(page);
  }
  for (const width of [320, 768, 1280, 1440]) await assertFits(page, width);
});

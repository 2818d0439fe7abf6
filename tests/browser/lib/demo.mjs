/**
 * The built demo in a page, worked by its controls.
 */
import { watchedPage } from "./browser.mjs";

/** Opens the demo at `url`. */
export async function openDemo(context, url) {
  const { page, problems } = await watchedPage(context);
  await page.goto(url);
  return { page, problems, demo: new Demo(page) };
}

export class Demo {
  constructor(page) {
    this.page = page;
    for (const id of ["prompt", "generate", "stop", "output", "generated", "status", "error"]) {
      this[id] = page.getByTestId(id);
    }
  }

  /** Waits until the page is in one of `states`. */
  async until(...states) {
    await this.page.locator(states.map((state) => `main[data-state="${state}"]`).join()).waitFor();
  }

  /** Generates to the end; the text made. */
  async run({ prompt, seed, maxTokens }) {
    if (prompt !== undefined) await this.prompt.fill(prompt);
    if (seed !== undefined) await this.page.getByLabel("Seed", { exact: true }).fill(String(seed));
    if (maxTokens !== undefined) await this.page.getByLabel("Max tokens", { exact: true }).fill(String(maxTokens));
    await this.generate.click();
    await this.until("ready", "error");
    return this.generated.textContent();
  }

  /** A figure of the speed panel, as text. */
  async speed(name) {
    return (await this.page.getByTestId("speed").getByTestId(name).textContent()).trim();
  }

  /** Takes the standard measurement; the figures of each row of its table, the latest first. */
  async measure() {
    await this.page.getByTestId("measure").click();
    await this.until("ready", "error");
    const rows = await this.page.getByTestId("speed").locator("tbody tr").all();
    return Promise.all(rows.map(async (row) => (await row.locator("th, .number").allTextContents()).map((cell) => cell.trim())));
  }

  /** Begins a generation of a thousand tokens: so hot that the model does not end its text itself. */
  async beginLongRun() {
    const settings = { Temperature: 2, "Top-p": 1, "Top-k": 0, "Max tokens": 1000, Seed: 3 };
    for (const [label, value] of Object.entries(settings)) {
      await this.page.getByLabel(label, { exact: true }).fill(String(value));
    }
    await this.generate.click();
    await this.untilText();
  }

  /** Waits until the generation has written something. */
  async untilText() {
    await this.page.locator('[data-testid="generated"]:not(:empty)').waitFor();
  }

  /** The options of a generation. */
  get options() {
    return this.page.getByTestId("options");
  }

  /** A group of options, opened. */
  async group(id) {
    const group = this.options.locator(`details[data-group="${id}"]`);
    if ((await group.getAttribute("open")) === null) await group.locator("summary").click();
    return group;
  }

  /** The panel of several texts at once. */
  get many() {
    return this.page.getByTestId("many");
  }

  /** Shows samples or beams. */
  async kind(name) {
    await this.many.getByRole("tab", { name }).click();
    return this.many.getByRole("tabpanel");
  }

  /** Writes samples, or searches, to the end. */
  async runMany() {
    await this.many.getByTestId("run-many").click();
    await this.until("ready", "error");
  }

  /** The tokens of the output, where they are shown. */
  get tokens() {
    return this.page.getByTestId("output-tokens").getByRole("option");
  }

  /** The panel of states, once a model is loaded. */
  get states() {
    return this.page.getByTestId("states");
  }

  /** Loads the chosen model without generating; the stored states are shown then. */
  async loadModel() {
    await this.page.getByTestId("load-model").click();
    await this.until("ready", "error");
    await this.states.getByTestId("states-total").waitFor();
  }

  /** Continues the open state to the end; the text made. */
  async continue() {
    await this.page.getByRole("button", { name: "Continue", exact: true }).click();
    await this.until("ready", "error");
    return this.generated.textContent();
  }

  /** How many states the list has in all. */
  async stateCount() {
    return Number(await this.states.getByTestId("states-total").textContent());
  }

  /** Clicks `button`, or what else acts on the states, and waits for the panel to say that it was done. */
  async act(button, done) {
    await button.click();
    await this.states.getByTestId("states-done").filter({ hasText: done }).waitFor();
  }

  /** Shows a view of the open state. */
  async view(name) {
    await this.states.getByRole("tab", { name }).click();
    return this.states.getByRole("tabpanel");
  }

  /** How the open state's revisions came about, the newest first. */
  async operations() {
    const panel = await this.view("History");
    return (await panel.locator("li strong").allTextContents()).map((word) => word.trim());
  }

  async nameState(name) {
    await this.states.getByRole("button", { name: "Rename" }).click();
    await this.states.getByLabel("Name of the state").fill(name);
    await this.act(this.states.getByRole("button", { name: "Save name" }), "Renamed.");
  }

  /** Opens the state called `name` from the list. */
  async openState(name) {
    const entry = this.states.getByTestId("state-list").locator("li .open").filter({ hasText: name });
    await this.act(entry, "State opened.");
  }

  /** The panel of the response cache. */
  get cache() {
    return this.page.getByTestId("cache");
  }

  /** Where the shown answer came from: its name, and what is said beside it. */
  async answer() {
    const [name, facts] = await Promise.all(["answer-name", "answer-facts"].map((id) => this.page.getByTestId(id).textContent()));
    return { name, facts };
  }

  /** How the next request uses the cache, by the words of its choice. */
  async useCache(label) {
    await this.page.getByTestId("cache-mode").selectOption({ label });
  }

  /** Shows a view of the cache. */
  async cacheView(name) {
    await this.cache.getByRole("tab", { name }).click();
    return this.cache.getByRole("tabpanel");
  }

  /** Begins to compute the answers to `prompts` ahead. */
  async beginWarming(prompts, concurrency = 1) {
    const panel = await this.cacheView("Warm");
    await panel.getByLabel("Prompts").fill(prompts.join("\n"));
    await panel.getByLabel("Concurrency").fill(String(concurrency));
    await panel.getByRole("button", { name: "Warm the cache" }).click();
  }

  /** Computes them to the end; what the panel says then. */
  async warm(prompts, concurrency) {
    await this.beginWarming(prompts, concurrency);
    await this.until("ready", "error");
    return this.cache.getByTestId("warm-outcome").textContent();
  }

  /** The rows of the table of entries, once there are so many entries in all. */
  async cacheRows(total) {
    const panel = await this.cacheView("Entries");
    await panel.getByTestId("entries-total").filter({ hasText: new RegExp(`^${total}$`) }).waitFor();
    return panel.getByTestId("entries").locator("tbody tr");
  }

  /** Clicks `button` and waits for the panel of the cache to say that it was done. */
  async actOnCache(button, done) {
    await button.click();
    await this.cache.getByTestId("cache-done").filter({ hasText: done }).waitFor();
  }

  /** The panel that looks inside the model. */
  get analysis() {
    return this.page.getByTestId("analysis");
  }

  async openAnalysis() {
    await this.page.getByTestId("open-analysis").click();
    await this.analysis.getByRole("tab", { name: "Tokens" }).waitFor();
  }

  /** Shows a view of the analysis. */
  async analysisView(name) {
    await this.analysis.getByRole("tab", { name, exact: true }).click();
    return this.analysis.locator(`[data-view="${name.toLowerCase()}"]`);
  }

  /** Runs an analysis of the view called `name` to the end. */
  async analyse(name, kind) {
    const view = await this.analysisView(name);
    await view.getByTestId(`analyse-${kind}`).click();
    await this.page.locator('[data-testid="analysis-status"]:not(:empty), [data-testid="analysis-error"] p').first().waitFor();
    await this.until("ready", "error");
    return view;
  }

  /** The same, of a text of its own. */
  async analyseOwn(text, name, kind) {
    await this.analysis.getByLabel("Analyse", { exact: true }).selectOption("own");
    await this.analysis.getByLabel("Text to analyse").fill(text);
    return this.analyse(name, kind);
  }
}

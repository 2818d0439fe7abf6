/**
 * What every tree of a beam search keeps to.
 */
import assert from "node:assert/strict";

/** Checks the steps of a search against its result. */
export function checkTree(steps, { sequences, steps: count }) {
  const nodes = new Map();
  const change = (id, state) => {
    assert.ok(nodes.has(id), `node ${id} was told of`);
    nodes.get(id).state = state;
  };
  for (const [index, { step, nodes: added, pruned, finished }] of steps.entries()) {
    assert.equal(step, Math.min(index + 1, count));
    for (const node of added) {
      assert.ok(node.parent === 0 || nodes.get(node.parent).state !== "finished");
      assert.ok(!nodes.has(node.id));
      nodes.set(node.id, { ...node });
    }
    for (const id of pruned) change(id, "pruned");
    for (const id of finished) change(id, "finished");
  }
  const all = [...nodes.values()];
  for (const { node, tokens, text, finishReason } of sequences) {
    assert.equal(nodes.get(node).state, "finished");
    const path = [];
    for (let at = nodes.get(node); at !== undefined; at = nodes.get(at.parent)) path.unshift(at);
    assert.deepEqual(path.map(({ token }) => token), tokens);
    if (finishReason !== "stop" && text !== "") {
      assert.ok(text.startsWith(path.map((each) => each.text).join("")), "the nodes' text is the sequence's");
    }
  }
  // What is finished and not returned scores no better than what is.
  const returned = new Set(sequences.map(({ node }) => node));
  const worst = Math.min(...sequences.map(({ score }) => score));
  for (const { id, state, score } of all) {
    if (state === "finished" && !returned.has(id)) assert.ok(score <= worst);
    if (state === "running") assert.ok(all.some(({ parent, state }) => parent === id && state !== "pruned"));
  }
}

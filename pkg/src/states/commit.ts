/**
 * A commit: all that one operation changes, checked and written in one
 * transaction. What is checked cannot change before it is written, and a
 * commit that is refused has written nothing.
 */

import { done } from "../store/connection.js";
import { readState, sameBytes } from "./records.js";

export interface Commit {
  /** `version`: the one expected in the database (0: it must not exist). `bytes` null: delete. */
  states: { id: string; version: number; fence: number; bytes: Uint8Array | null }[];
  revisions: { id: string; bytes: Uint8Array | null }[];
  /** Revisions that must be in the database once the commit is done. */
  requires: string[];
  /** A block that is there already under its name is not written again. */
  blocks: { name: string; bytes: Uint8Array | null }[];
  /** Half-made generations, by the state's id, with its fence. */
  drafts: { id: string; fence: number; bytes: Uint8Array | null }[];
  /** For deletions: every state that the writer knows of; the commit is refused where the database has others. */
  expects: [id: string, version: number][] | null;
}

export type CommitOutcome =
  /** The written states now have `version + 1`. */
  | { kind: "done" }
  /** Another tab has written or taken over these states. */
  | { kind: "conflict"; states: string[] }
  /** Of `requires`. */
  | { kind: "missing"; revisions: string[] }
  /** `expects` does not hold. */
  | { kind: "outdated" };

export const COMMIT_STORES = ["states", "revisions", "blocks", "sizes", "drafts"];

/**
 * The commit with all bytes in memory of their own. The caller's may be a part
 * of the engine's memory, which goes on changing, and of which a put would
 * store the whole.
 */
export function ownCommit(commit: Commit): Commit {
  return {
    states: commit.states.map(ownBytes),
    revisions: commit.revisions.map(ownBytes),
    requires: [...commit.requires],
    blocks: commit.blocks.map(ownBytes),
    drafts: commit.drafts.map(ownBytes),
    expects: commit.expects === null ? null : [...commit.expects],
  };
}

function ownBytes<Item extends { bytes: Uint8Array | null }>(item: Item): Item {
  return { ...item, bytes: item.bytes === null ? null : item.bytes.slice() };
}

/** Checks and writes; `repeated`: an earlier attempt may have succeeded without its answer getting here. */
export async function applyCommit(transaction: IDBTransaction, commit: Commit, repeated: boolean): Promise<CommitOutcome> {
  if (repeated && (await isWritten(transaction, commit))) return { kind: "done" };
  const refusal =
    (await findConflict(transaction, commit)) ??
    (await findOutdated(transaction, commit)) ??
    (await findMissing(transaction, commit));
  if (refusal !== null) return refusal;
  await write(transaction, commit);
  return { kind: "done" };
}

/** Whether the states are as this commit leaves them; without states, writing again does no harm. */
async function isWritten(transaction: IDBTransaction, { states }: Commit): Promise<boolean> {
  const store = transaction.objectStore("states");
  const found = await Promise.all(
    states.map(async ({ id, version, fence, bytes }) => {
      const value = await done<unknown>(store.get(id));
      if (value === undefined || bytes === null) return value === undefined && bytes === null;
      const stored = readState(value);
      return stored.version === version + 1 && stored.fence === fence && sameBytes(stored.bytes, bytes);
    }),
  );
  return found.length > 0 && found.every(Boolean);
}

async function findConflict(transaction: IDBTransaction, { states, drafts }: Commit): Promise<CommitOutcome | null> {
  const store = transaction.objectStore("states");
  const ofStates = states.map(async ({ id, version, fence }) => {
    const value = await done<unknown>(store.get(id));
    if (value === undefined || version === 0) return value === undefined && version === 0 ? [] : [id];
    const stored = readState(value);
    return stored.version === version && stored.fence === fence ? [] : [id];
  });
  const ofDrafts = drafts.map(async ({ id, fence }) => {
    const value = await done<unknown>(store.get(id));
    return value === undefined || readState(value).fence === fence ? [] : [id];
  });
  const conflicts = new Set((await Promise.all([...ofStates, ...ofDrafts])).flat());
  return conflicts.size === 0 ? null : { kind: "conflict", states: [...conflicts] };
}

async function findOutdated(transaction: IDBTransaction, { expects }: Commit): Promise<CommitOutcome | null> {
  if (expects === null) return null;
  const known = new Map(expects);
  const stored = await done<unknown[]>(transaction.objectStore("states").getAll());
  const holds = stored.map(readState).every(({ id, version }) => known.get(id) === version);
  return holds ? null : { kind: "outdated" };
}

async function findMissing(transaction: IDBTransaction, { requires, revisions }: Commit): Promise<CommitOutcome | null> {
  const store = transaction.objectStore("revisions");
  const written = new Map(revisions.map(({ id, bytes }) => [id, bytes !== null]));
  const missing = await Promise.all(
    requires.map(async (id) => {
      const there = written.get(id) ?? (await done(store.getKey(id))) !== undefined;
      return there ? [] : [id];
    }),
  );
  const ids = missing.flat();
  return ids.length === 0 ? null : { kind: "missing", revisions: ids };
}

/** What speaks of other records comes after them. */
async function write(transaction: IDBTransaction, commit: Commit): Promise<void> {
  await Promise.all(commit.blocks.map((block) => writeBlock(transaction, block)));
  for (const { id, bytes } of commit.revisions) put(transaction.objectStore("revisions"), id, bytes && { id, bytes });
  for (const { id, bytes } of commit.drafts) put(transaction.objectStore("drafts"), id, bytes && { id, bytes });
  for (const { id, version, fence, bytes } of commit.states) {
    put(transaction.objectStore("states"), id, bytes && { id, version: version + 1, fence, bytes });
  }
}

async function writeBlock(transaction: IDBTransaction, { name, bytes }: Commit["blocks"][number]): Promise<void> {
  const blocks = transaction.objectStore("blocks");
  const sizes = transaction.objectStore("sizes");
  if (bytes === null) {
    blocks.delete(name);
    sizes.delete(name);
  } else if ((await done(blocks.getKey(name))) === undefined) {
    blocks.put(bytes, name);
    sizes.put(bytes.length, name);
  }
}

function put(store: IDBObjectStore, id: string, value: object | null): void {
  if (value === null) store.delete(id);
  else store.put(value);
}

/**
 * States in IndexedDB. What the records mean is the engine's affair; here they
 * are bytes under ids, with what several tabs need to write them safely: a
 * version of every state, and a fence that shuts an owner out.
 */

import { Connection, done } from "../store/connection.js";
import { applyCommit, COMMIT_STORES, ownCommit, type Commit, type CommitOutcome } from "./commit.js";
import { hasTextId, readBytes, readRecord, readState, type StoredRecord, type StoredState } from "./records.js";
import { openStates } from "./schema.js";

export type { Commit, CommitOutcome, StoredRecord, StoredState };

/** All but the contents of the blocks, as of one moment. */
export interface Snapshot {
  states: StoredState[];
  revisions: StoredRecord[];
  drafts: StoredRecord[];
  /** The names of all stored blocks. */
  blocks: string[];
  /** Records put aside. */
  quarantined: number;
}

export interface StoredBlock {
  name: string;
  bytes: Uint8Array;
}

export interface RecordName {
  store: "states" | "revisions" | "blocks" | "drafts";
  id: string;
}

/** `records` and `blocks` are bytes, the others numbers of records. */
export interface StorageUsage {
  records: number;
  blocks: number;
  blockCount: number;
  quarantined: number;
}

export interface StateDatabase {
  readAll(): Promise<Snapshot>;
  /** Those of `ids` that exist, as with the other reads. */
  readStates(ids: readonly string[]): Promise<StoredState[]>;
  readRevisions(ids: readonly string[]): Promise<StoredRecord[]>;
  readDrafts(ids: readonly string[]): Promise<StoredRecord[]>;
  readBlocks(names: readonly string[]): Promise<StoredBlock[]>;
  /** Bytes of every stored block, by name. */
  readBlockSizes(): Promise<Map<string, number>>;
  /** The names of all stored blocks. */
  readBlockNames(): Promise<string[]>;
  /** Durable once done; refused, it has changed nothing. The bytes may change as soon as this returns. */
  commit(commit: Commit): Promise<CommitOutcome>;
  /**
   * The state's new fence: whoever holds the old one can no longer write. 0
   * where the state does not exist, so that there is nothing to write to.
   */
  takeOver(id: string): Promise<number>;
  /** Moves damaged records aside, so that they are not met again but not lost either. */
  quarantine(items: readonly RecordName[]): Promise<void>;
  usage(): Promise<StorageUsage>;
  close(): void;
}

/**
 * Opens the database, whose failure in some private windows shows only then.
 * Rejects with `storage-newer` where a newer version of this package has
 * written it, with `storage-error` where it cannot be used.
 */
export async function openStateDatabase(name: string): Promise<StateDatabase> {
  const connection = new Connection(() => openStates(name));
  await connection.run(["states"], "readonly", async () => undefined);
  return new IndexedDbStates(connection);
}

class IndexedDbStates implements StateDatabase {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async readAll(): Promise<Snapshot> {
    const stores = ["states", "revisions", "drafts", "sizes", "quarantine"];
    return this.#connection.run(stores, "readonly", async (transaction) => {
      const all = (store: string) => done<unknown[]>(transaction.objectStore(store).getAll());
      const [states, revisions, drafts, blocks, quarantined] = await Promise.all([
        all("states"),
        all("revisions"),
        all("drafts"),
        done(transaction.objectStore("sizes").getAllKeys()),
        done(transaction.objectStore("quarantine").count()),
      ]);
      return {
        states: states.filter(hasTextId).map(readState),
        revisions: revisions.filter(hasTextId).map(readRecord),
        drafts: drafts.filter(hasTextId).map(readRecord),
        blocks: blocks.filter((name) => typeof name === "string"),
        quarantined,
      };
    });
  }

  async readStates(ids: readonly string[]): Promise<StoredState[]> {
    return (await this.#read("states", ids)).map(({ value }) => readState(value));
  }

  async readRevisions(ids: readonly string[]): Promise<StoredRecord[]> {
    return (await this.#read("revisions", ids)).map(({ value }) => readRecord(value));
  }

  async readDrafts(ids: readonly string[]): Promise<StoredRecord[]> {
    return (await this.#read("drafts", ids)).map(({ value }) => readRecord(value));
  }

  async readBlockNames(): Promise<string[]> {
    const names = await this.#connection.run(["sizes"], "readonly", (transaction) => done(transaction.objectStore("sizes").getAllKeys()));
    return names.filter((name) => typeof name === "string");
  }

  async readBlockSizes(): Promise<Map<string, number>> {
    return this.#connection.run(["sizes"], "readonly", async (transaction) => {
      const sizes = transaction.objectStore("sizes");
      const [names, bytes] = await Promise.all([done(sizes.getAllKeys()), done<number[]>(sizes.getAll())]);
      return new Map(names.map((name, index) => [String(name), bytes[index] ?? 0]));
    });
  }

  async readBlocks(names: readonly string[]): Promise<StoredBlock[]> {
    return (await this.#read("blocks", names)).map(({ key, value }) => ({ name: key, bytes: readBytes(value) }));
  }

  async commit(commit: Commit): Promise<CommitOutcome> {
    const owned = ownCommit(commit);
    return this.#connection.run(COMMIT_STORES, "readwrite", (transaction, repeated) =>
      applyCommit(transaction, owned, repeated),
    );
  }

  async takeOver(id: string): Promise<number> {
    return this.#connection.run(["states"], "readwrite", async (transaction) => {
      const states = transaction.objectStore("states");
      const value = await done<object | undefined>(states.get(id));
      if (value === undefined) return 0;
      const fence = readState(value).fence + 1;
      states.put({ ...value, fence });
      return fence;
    });
  }

  async quarantine(items: readonly RecordName[]): Promise<void> {
    const stores = ["states", "revisions", "blocks", "sizes", "drafts", "quarantine"];
    await this.#connection.run(stores, "readwrite", async (transaction) => {
      for (const { store, id } of items) {
        const value = await done<unknown>(transaction.objectStore(store).get(id));
        if (value === undefined) continue;
        transaction.objectStore("quarantine").put({ store, id, value, time: Date.now() });
        transaction.objectStore(store).delete(id);
        if (store === "blocks") transaction.objectStore("sizes").delete(id);
      }
    });
  }

  async usage(): Promise<StorageUsage> {
    const stores = ["states", "revisions", "drafts", "sizes", "quarantine"];
    return this.#connection.run(stores, "readonly", async (transaction) => {
      const bytesIn = async (store: string) =>
        sum((await done<unknown[]>(transaction.objectStore(store).getAll())).map((value) => readRecord(value).bytes.length));
      const [states, revisions, drafts, sizes, quarantined] = await Promise.all([
        bytesIn("states"),
        bytesIn("revisions"),
        bytesIn("drafts"),
        done<number[]>(transaction.objectStore("sizes").getAll()),
        done(transaction.objectStore("quarantine").count()),
      ]);
      return { records: states + revisions + drafts, blocks: sum(sizes), blockCount: sizes.length, quarantined };
    });
  }

  close(): void {
    this.#connection.close();
  }

  async #read(store: string, keys: readonly string[]): Promise<{ key: string; value: unknown }[]> {
    return this.#connection.run([store], "readonly", async (transaction) => {
      const objects = transaction.objectStore(store);
      const values = await Promise.all(keys.map((key) => done<unknown>(objects.get(key))));
      return keys.map((key, index) => ({ key, value: values[index] })).filter(({ value }) => value !== undefined);
    });
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

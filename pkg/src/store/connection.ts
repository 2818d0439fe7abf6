/**
 * A connection to an IndexedDB database that comes back when it is lost.
 *
 * The few lines of promise wrapping are here, not from a library, so that the
 * worker also starts where no bundler resolves bare imports.
 */

import { storageError } from "./store.js";

/** What to do in a transaction; `repeated`: the first attempt may have come to its end unnoticed. */
export type Work<T> = (transaction: IDBTransaction, repeated: boolean) => Promise<T>;

export class Connection {
  readonly #open: () => Promise<IDBDatabase>;
  readonly #durability: IDBTransactionDurability;
  #handle: Promise<IDBDatabase> | undefined;
  #closed = false;

  /** `durability` of what is written: `"relaxed"` is faster, and may lose the last moments where the device loses power. */
  constructor(open: () => Promise<IDBDatabase>, durability: IDBTransactionDurability = "strict") {
    this.#open = open;
    this.#durability = durability;
  }

  /**
   * Runs one transaction and waits until it is written. WebKit sometimes loses
   * the connection under a page, and clearing a site's data closes it in every
   * browser; the handle is then dead for good, so a new one is opened and the
   * work repeated, once.
   */
  async run<T>(stores: readonly string[], mode: IDBTransactionMode, work: Work<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      let handle: Promise<IDBDatabase> | undefined;
      try {
        handle = this.#connect();
        const transaction = (await handle).transaction(stores, mode, { durability: this.#durability });
        return await settled(transaction, () => work(transaction, attempt > 0));
      } catch (error) {
        if (!isLoss(error) || attempt > 0 || this.#closed) throw storageError(error);
        this.#drop(handle);
      }
    }
  }

  /** Lets what runs come to its end; nothing can be run any more. */
  close(): void {
    this.#closed = true;
    this.#drop(this.#handle);
  }

  #connect(): Promise<IDBDatabase> {
    if (this.#closed) throw new Error("the connection to the database was closed");
    if (this.#handle !== undefined) return this.#handle;
    const handle = this.#open();
    this.#handle = handle;
    const forget = () => {
      if (this.#handle === handle) this.#handle = undefined;
    };
    handle.then((database) => {
      // Another tab wants to upgrade or delete the database: do not stand in its way.
      database.onversionchange = () => {
        database.close();
        forget();
      };
      database.onclose = forget;
    }, forget);
    return handle;
  }

  #drop(handle: Promise<IDBDatabase> | undefined): void {
    if (this.#handle === handle) this.#handle = undefined;
    handle?.then(
      (database) => database.close(),
      () => undefined,
    );
  }
}

/** The result of a request. */
export function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function settled<T>(transaction: IDBTransaction, work: () => Promise<T>): Promise<T> {
  const committed = finished(transaction);
  committed.catch(() => undefined);
  try {
    const value = await work();
    await committed;
    return value;
  } catch (error) {
    if (abort(transaction)) throw error;
    // Why the browser has aborted it (the quota, say) tells more than what then failed here.
    await committed;
    throw error;
  }
}

function finished(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new DOMException("the transaction was aborted", "AbortError"));
  });
}

/** So that nothing stays of work that failed halfway; `false` where the browser has done it already. */
export function abort(transaction: IDBTransaction): boolean {
  try {
    transaction.abort();
    return true;
  } catch {
    return false;
  }
}

/** An error of the work itself is another: an `AbortError` is the browser's doing. */
function isLoss(error: unknown): boolean {
  return error instanceof Error && ["InvalidStateError", "UnknownError", "AbortError"].includes(error.name);
}

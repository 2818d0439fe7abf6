/** The models that the browser stores for this page. */

import { Cacher, type StoredModel } from "cacher-wasm";
import type { NamedModel } from "./models.ts";

export class Shelf {
  models = $state.raw<readonly StoredModel[]>([]);
  /** True where the browser promised not to clear the storage by itself. */
  persisted = $state(false);
  problem = $state("");

  constructor() {
    void this.refresh();
  }

  get bytes(): number {
    return this.models.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  has(model: NamedModel): boolean {
    return this.models.some(({ id, files }) => id === model.source && files.every(({ complete }) => complete));
  }

  async refresh(): Promise<void> {
    try {
      this.models = await Cacher.models.list();
      // Missing outside secure contexts.
      this.persisted = (await navigator.storage?.persisted?.()) ?? false;
      this.problem = "";
    } catch (error) {
      this.problem = `The storage of this browser cannot be read: ${(error as Error).message}`;
    }
  }

  async remove(model: StoredModel): Promise<void> {
    try {
      await Cacher.models.delete(model.id);
    } catch (error) {
      this.problem = `${model.id} could not be deleted: ${(error as Error).message}`;
      return;
    }
    await this.refresh();
  }

  async persist(): Promise<void> {
    this.persisted = await Cacher.models.persist();
    if (!this.persisted) this.problem = "The browser did not agree. Using this page often or bookmarking it may change that.";
  }
}

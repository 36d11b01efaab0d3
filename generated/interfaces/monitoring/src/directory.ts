// What the page calls each instance, and the place of each in the palette: both by identifier, whatever the filter leaves.
import type { Instance } from './api';

/** Places in the order in which names were first asked for; a name keeps its own. */
export class Places {
  readonly #places = new Map<string, number>();

  of(name: string): number {
    const place = this.#places.get(name) ?? this.#places.size;
    this.#places.set(name, place);
    return place;
  }
}

export class Directory {
  readonly #names: Map<string, string>;
  readonly #shared: Set<string>;
  readonly #instancePlaces = new Places();
  readonly #providerPlaces = new Places();

  constructor(instances: readonly Instance[]) {
    this.#names = new Map(instances.map(({ instanceId, name }) => [instanceId, name]));
    const names = instances.map(({ name }) => name);
    this.#shared = new Set(names.filter((name, index) => names.indexOf(name) !== index));
    for (const { instanceId } of instances) {
      this.#instancePlaces.of(instanceId);
    }
  }

  /** Its identifier where no name is known; both where several have the same name. */
  nameOf(instanceId: string): string {
    const name = this.#names.get(instanceId) ?? instanceId;
    return this.#shared.has(name) ? `${name} (${instanceId})` : name;
  }

  instancePlace(instanceId: string): number {
    return this.#instancePlaces.of(instanceId);
  }

  providerPlace(provider: string): number {
    return this.#providerPlaces.of(provider);
  }
}

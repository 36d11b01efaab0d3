// Which providers there are. A further one is one line here.
import type { AdapterClass, ProviderAdapter } from './base-adapter';
import { DevelopmentAdapter } from './development-adapter';
import { UnknownNameError } from './errors';
import { IdeogramAdapter } from './ideogram-adapter';
import type { AdapterOptions } from './types';

export const DEFAULT_PROVIDER = IdeogramAdapter.provider;

const ADAPTERS: readonly AdapterClass[] = [IdeogramAdapter, DevelopmentAdapter];

export class AdapterRegistry {
  constructor(private readonly adapters: readonly AdapterClass[]) {}

  /** Their names, sorted. */
  providers(): string[] {
    return this.adapters.map(({ provider }) => provider).sort();
  }

  /** Throws an UnknownNameError that lists the known ones. */
  get(provider: string): AdapterClass {
    const adapter = this.adapters.find((candidate) => candidate.provider === provider);
    if (!adapter) {
      throw new UnknownNameError('provider', provider, this.providers());
    }
    return adapter;
  }

  /** What a request means that names a provider, a model, both or neither. Throws an UnknownNameError. */
  choose(wish: { provider?: string | undefined; model?: string | undefined }): {
    provider: string;
    model: string;
  } {
    const { model } = wish;
    const adapter =
      wish.provider !== undefined
        ? this.get(wish.provider)
        : (this.adapters.find(({ models }) => model !== undefined && models.includes(model)) ??
          this.get(DEFAULT_PROVIDER));
    if (model !== undefined && !adapter.models.includes(model)) {
      const known = wish.provider !== undefined ? [adapter] : this.adapters;
      throw new UnknownNameError(
        'model',
        model,
        known.flatMap(({ models }) => models),
      );
    }
    return { provider: adapter.provider, model: model ?? adapter.defaultModel };
  }

  create(provider: string, options: AdapterOptions): ProviderAdapter {
    const Adapter = this.get(provider);
    return new Adapter(options);
  }
}

export const adapterRegistry = new AdapterRegistry(ADAPTERS);

/** An adapter of a registered provider; make one for each request. */
export function createAdapter(provider: string, options: AdapterOptions): ProviderAdapter {
  return adapterRegistry.create(provider, options);
}

// What the mock Ideogram has begun to generate, and what it says of it.
import type { GenerationOrder } from './mock-ideogram-families';
import type { MockFault } from './mock-ideogram-faults';

export interface Generation {
  id: string;
  order: GenerationOrder;
  apiKey: string;
  seed: number;
  createdAt: Date;
  /** How often it will still be pending. */
  pendingPolls: number;
  outcome: 'image' | 'unsafe' | { failed: string };
}

export interface GenerationsOptions {
  random: () => number;
  now: () => Date;
  imageOrigin: string;
  linkLifetimeMs: number;
  pendingPolls: { min: number; max: number };
}

/** What nobody asks for any more is finished by then, too. */
const LONGEST_GENERATION_MS = 10 * 60 * 1000;
/** A local system may run for days. */
export const MOST_REMEMBERED = 10_000;
const ID_LENGTH = 22;
const ID_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
/** USD micros; one price for all, since the mock sells nothing. */
const PRICE_OF_IMAGE = 60_000;

const isV2 = ({ order }: Generation) => order.family === 'v4.5';

export class Generations {
  readonly all = new Map<string, Generation>();
  /** Apart, so that many that are done cost nothing. */
  private readonly running = new Set<Generation>();

  constructor(private readonly options: GenerationsOptions) {}

  begin(order: GenerationOrder, apiKey: string, fault: MockFault | undefined): Generation {
    const { random, now, pendingPolls } = this.options;
    const { min, max } = pendingPolls;
    const generation: Generation = {
      id: Array.from({ length: ID_LENGTH }, () => ID_LETTERS[Math.floor(random() * 64)]).join(''),
      order,
      apiKey,
      seed: order.seed ?? Math.floor(random() * 2 ** 31),
      createdAt: now(),
      pendingPolls: min + Math.floor(random() * (max - min + 1)),
      outcome: 'image',
    };
    if (fault?.kind === 'pending') {
      generation.pendingPolls = fault.polls === 'endless' ? Number.POSITIVE_INFINITY : fault.polls;
    } else if (fault?.kind === 'failed') {
      generation.outcome = { failed: fault.reason };
    } else if (fault?.kind === 'unsafe') {
      generation.outcome = 'unsafe';
    }
    this.all.set(generation.id, generation);
    this.running.add(generation);
    const [oldest] = this.all.keys();
    if (this.all.size > MOST_REMEMBERED && oldest !== undefined) {
      this.all.delete(oldest);
    }
    return generation;
  }

  /** It is no longer in progress, which is what the limit counts. */
  finish(generation: Generation): void {
    this.running.delete(generation);
  }

  clear(): void {
    this.all.clear();
    this.running.clear();
  }

  /** The one that a poll is for: of this key, and begun in this version of the API. */
  find(id: string, version: string, apiKey: string | null): Generation | undefined {
    const generation = this.all.get(id);
    const visible =
      generation?.apiKey === apiKey &&
      generation.order.async &&
      isV2(generation) === (version === 'v2');
    return visible ? generation : undefined;
  }

  /** The one that a link is for, and which of its images; undefined once the link has expired. */
  behindLink(name: string): { generation: Generation; index: number } | undefined {
    const generation = this.all.get(name.slice(0, ID_LENGTH));
    const index = Number(name.slice(ID_LENGTH) || Number.NaN);
    if (generation?.outcome !== 'image' || !(index < generation.order.images)) {
      return undefined;
    }
    const ageMs = this.options.now().getTime() - generation.createdAt.getTime();
    return ageMs < this.options.linkLifetimeMs ? { generation, index } : undefined;
  }

  imagesInFlight(apiKey?: string): number {
    const oldest = this.options.now().getTime() - LONGEST_GENERATION_MS;
    return [...this.running]
      .filter(({ createdAt }) => createdAt.getTime() > oldest)
      .filter((generation) => apiKey === undefined || generation.apiKey === apiKey)
      .reduce((sum, { order }) => sum + order.images, 0);
  }

  /** The answer to a poll, which is what moves a generation on. */
  status(generation: Generation): Record<string, unknown> {
    const common = { generation_id: generation.id, created: generation.createdAt.toISOString() };
    if (generation.pendingPolls > 0) {
      generation.pendingPolls -= 1;
      return { ...common, status: 'pending' };
    }
    this.finish(generation);
    if (typeof generation.outcome === 'object') {
      // The first version of this route does not say why.
      const reason = isV2(generation) ? { failure_reason: generation.outcome.failed } : {};
      return { ...common, ...reason, status: 'failed' };
    }
    return {
      ...common,
      ...this.completed(generation),
      status: 'completed',
      response_type: isV2(generation) ? 'image' : 'url',
      usage_cost_usd_micros: PRICE_OF_IMAGE * generation.order.images,
    };
  }

  /** The answer with the images. */
  completed(generation: Generation): Record<string, unknown> {
    const { id, order, seed, createdAt } = generation;
    const safe = generation.outcome === 'image';
    const data = Array.from({ length: order.images }, (_, index) => ({
      url: safe ? this.link(generation, index) : this.options.random() < 0.5 ? null : '',
      prompt: order.prompt,
      resolution: order.resolution,
      is_image_safe: safe,
      seed: seed + index,
      ...(isV2(generation) ? { object_type: 'image' } : { style_type: 'GENERAL' }),
    }));
    return isV2(generation)
      ? { generation_id: id, generation_kind: 'sampling', seed, data }
      : { created: createdAt.toISOString(), data };
  }

  private link({ id, createdAt }: Generation, index: number): string {
    const expires = Math.floor((createdAt.getTime() + this.options.linkLifetimeMs) / 1000);
    return `${this.options.imageOrigin}/api/images/ephemeral/${id}${index}.png?exp=${expires}`;
  }
}

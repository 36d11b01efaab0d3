// A stand-in for Ideogram's API that is as strict as the service, and as little to be relied on: for tests, and for a system that runs locally.
//
//   const mock = new MockIdeogram({ now: () => clock.now });       // every option has a default, see MockIdeogramOptions
//   createAdapter('ideogram', { apiKey: MOCK_API_KEY, fetch: mock.fetch, ... });
//
// `fetch(request)` answers as the network would; it is bound, so it can be handed on by itself. It looks at paths only, so a server that
// listens anywhere can pass its requests to it: give `imageOrigin` the server's own origin then, since the links to images begin with it.
//
//   POST /generate                          legacy    JSON { image_request }        answers with the images
//   POST /v1/ideogram-v3/generate           3.0       multipart/form-data           answers with the images
//   POST /v1/ideogram-v4/generate           4.0       multipart/form-data           answers with the images
//   POST /v1/ideogram-v4/async/generate     4.0       multipart/form-data           answers a generation_id
//   POST /v2/image/generate/ideogram-4-5    4.5       JSON                          images, or a generation_id if `async` or `webhook_url` (which is never called)
//   GET  /v1/generations/{id}, /v2/...      status of what was started in that version
//   GET  /api/images/ephemeral/{id}.png     the image, until its link expires; a request that carries a key is refused
//
// What a test steers:
//   mock.next('submit', fault, 3)    the next three requests of that stage that are right in themselves meet this fault; several calls queue up
//   mock.always('poll', fault)       every request of that stage does, behind what is queued
//   mock.reset()                     takes back all faults, and forgets the journal and all generations
//   `[mock:unsafe]` in a prompt      the same for people; the names stand in mock-ideogram-faults.ts
// What a test can look at:
//   mock.journal, mock.requestsOf('submit'), mock.imagesInFlight(), mock.generations
//
// How often a generation is pending, the order of fields, the case of the content type and whether an unsafe link is empty or null follow from `seed`:
// they look random and are the same in every run. `rawHeaders(response)` does that to the names of headers, for a server that writes them itself.
import { drawPng } from '@/workers/shared/provider-adapters/png';
import { Answers } from './mock-ideogram-answers';
import {
  FAMILIES,
  type Family,
  type FamilyName,
  type GenerationOrder,
  RefusedField,
} from './mock-ideogram-families';
import {
  faultOfPrompt,
  type MockFault,
  type MockStage,
  manyBytes,
  untilAborted,
} from './mock-ideogram-faults';
import { type Generation, Generations, MOST_REMEMBERED } from './mock-ideogram-generations';

export type { MockFault, MockStage } from './mock-ideogram-faults';

export const MOCK_API_KEY = 'mock-ideogram-key-0123456789';

export interface MockIdeogramOptions {
  /** The keys that it knows. Default: MOCK_API_KEY alone. */
  apiKeys?: readonly string[];
  /** Where links to images lead. Default: `https://ideogram.ai`. */
  imageOrigin?: string;
  /** The clock that links expire by. Default: the real one. */
  now?: () => Date;
  /** How the fault `latency` waits. Default: by a timer. */
  wait?: (milliseconds: number) => Promise<void>;
  /** Decides everything that looks random. Default: 1. */
  seed?: number;
  /** How many images one key may have in progress. Default: 10. */
  maxInflightImages?: number;
  /** Default: 24 hours. */
  linkLifetimeMs?: number;
  /** How often a generation is pending before it is complete, at least and at most. Default: 1 and 3. */
  pendingPolls?: { min: number; max: number };
}

export interface JournalEntry {
  stage: MockStage | 'other';
  method: string;
  path: string;
  family: FamilyName | null;
  headers: Readonly<Record<string, string>>;
  /** As it was parsed: an object of JSON, or the fields of a form. Undefined if there was none, or none that could be read. */
  body: unknown;
  at: Date;
  /** Null while it hangs, and when the connection breaks before there is an answer. */
  status: number | null;
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** How many different pictures there are of one size. */
const PICTURES = 256;
const MOST_PICTURES = 1_024;
const POLL_LIMIT = { requests: 1_000, windowMs: 10_000 };

export class MockIdeogram {
  /** What it received, in the order of arrival; of very much, the last ten thousand requests. */
  readonly journal: JournalEntry[] = [];
  private readonly queues = new Map<MockStage, MockFault[]>();
  private readonly standing = new Map<MockStage, MockFault>();
  private readonly pictures = new Map<string, Promise<Uint8Array>>();
  private pollTimes: number[] = [];
  private readonly apiKeys: ReadonlySet<string>;
  private readonly now: () => Date;
  private readonly wait: (milliseconds: number) => Promise<void>;
  private readonly maxInflightImages: number;
  private readonly answers: Answers;
  private readonly begun: Generations;

  constructor(options: MockIdeogramOptions = {}) {
    this.apiKeys = new Set(options.apiKeys ?? [MOCK_API_KEY]);
    this.now = options.now ?? (() => new Date());
    this.wait =
      options.wait ??
      ((milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)));
    this.maxInflightImages = options.maxInflightImages ?? 10;
    this.answers = new Answers(options.seed ?? 1);
    this.begun = new Generations({
      random: this.answers.random,
      now: this.now,
      imageOrigin: options.imageOrigin ?? 'https://ideogram.ai',
      linkLifetimeMs: options.linkLifetimeMs ?? DAY_MS,
      pendingPolls: options.pendingPolls ?? { min: 1, max: 3 },
    });
  }

  /** By id. */
  get generations(): ReadonlyMap<string, Generation> {
    return this.begun.all;
  }

  next(stage: MockStage, fault: MockFault, times = 1): void {
    const queue = this.queues.get(stage) ?? [];
    this.queues.set(stage, [...queue, ...Array.from({ length: times }, () => fault)]);
  }

  always(stage: MockStage, fault: MockFault): void {
    this.standing.set(stage, fault);
  }

  reset(): void {
    this.queues.clear();
    this.standing.clear();
    this.begun.clear();
    this.journal.length = 0;
    this.pollTimes = [];
  }

  requestsOf(stage: MockStage): JournalEntry[] {
    return this.journal.filter((entry) => entry.stage === stage);
  }

  /** Images in progress: of one key, or of all. */
  imagesInFlight(apiKey?: string): number {
    return this.begun.imagesInFlight(apiKey);
  }

  readonly fetch = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url);
    const family = FAMILIES[pathname];
    const poll = /^\/(v[12])\/generations\/([\w-]+)$/.exec(pathname);
    const image = /^\/api\/images\/ephemeral\/([\w-]+)\.png$/.exec(pathname);
    const entry: JournalEntry = {
      stage: family ? 'submit' : poll ? 'poll' : image ? 'image' : 'other',
      method: request.method,
      path: pathname,
      family: family?.name ?? null,
      headers: Object.fromEntries(request.headers),
      body: undefined,
      at: this.now(),
      status: null,
    };
    this.journal.push(entry);
    if (this.journal.length > MOST_REMEMBERED) {
      this.journal.shift();
    }
    let response: Response;
    if (family) {
      response = await this.submit(request, family, entry);
    } else if (poll) {
      response = await this.poll(request, poll[1] ?? '', poll[2] ?? '');
    } else if (image) {
      response = await this.image(request, image[1] ?? '');
    } else {
      response = this.answers.error(404, 'no such path');
    }
    entry.status = response.status;
    return response;
  };

  /** Headers as no client should expect them: in any order, with names in any case. */
  rawHeaders(response: Response): [string, string][] {
    return this.answers.rawHeaders(response);
  }

  private async submit(request: Request, family: Family, entry: JournalEntry): Promise<Response> {
    const refusal = this.refusal(request, 'POST');
    if (refusal) {
      return refusal;
    }
    let order: GenerationOrder;
    try {
      entry.body = await this.body(request, family);
      order = family.read(entry.body);
    } catch (error) {
      const message = error instanceof RefusedField ? error.message : 'the body cannot be read';
      return this.answers.error(400, message);
    }
    const apiKey = request.headers.get('Api-Key') ?? '';
    if (this.imagesInFlight(apiKey) + order.images > this.maxInflightImages) {
      return this.inflightLimit();
    }
    const fault = this.take('submit') ?? faultOfPrompt(order.prompt);
    const early = this.early(fault);
    if (early) {
      return early;
    }
    if (fault?.kind === 'hang') {
      await untilAborted(request.signal);
    }
    const generation = this.begun.begin(order, apiKey, fault);
    await this.delay(fault, request.signal);
    if (!order.async) {
      this.begun.finish(generation);
    }
    if (!order.async && typeof generation.outcome === 'object') {
      return this.answers.error(500, 'the generation failed');
    }
    return this.answers.success(
      order.async
        ? { generation_id: generation.id, generation_kind: 'sampling' }
        : this.begun.completed(generation),
      fault,
    );
  }

  private async poll(request: Request, version: string, id: string): Promise<Response> {
    const refusal = this.refusal(request, 'GET');
    if (refusal) {
      return refusal;
    }
    const now = this.now().getTime();
    this.pollTimes = this.pollTimes.filter((time) => time > now - POLL_LIMIT.windowMs);
    if (this.pollTimes.length >= POLL_LIMIT.requests) {
      const waitMs = (this.pollTimes[0] ?? now) + POLL_LIMIT.windowMs - now;
      return this.answers.error(429, 'too many requests', {
        'Retry-After': String(Math.max(1, Math.ceil(waitMs / 1000))),
      });
    }
    this.pollTimes.push(now);
    const fault = this.take('poll');
    const early = this.early(fault);
    if (early) {
      return early;
    }
    await this.delay(fault, request.signal);
    const generation = this.begun.find(id, version, request.headers.get('Api-Key'));
    return generation
      ? this.answers.success(this.begun.status(generation), fault)
      : this.answers.error(404, 'no such generation');
  }

  private async image(request: Request, name: string): Promise<Response> {
    if (request.headers.has('Api-Key') || request.headers.has('Authorization')) {
      return this.answers.error(400, 'a key has no business here');
    }
    const fault = this.take('image');
    const early = this.early(fault);
    if (early) {
      return early;
    }
    await this.delay(fault, request.signal);
    const found = this.begun.behindLink(name);
    if (!found) {
      return this.answers.error(404, 'this link has expired');
    }
    if (fault?.kind === 'huge-image') {
      const length = fault.declared ? { 'Content-Length': String(fault.bytes) } : {};
      return new Response(manyBytes(fault.bytes), {
        headers: { 'Content-Type': 'image/png', ...length },
      });
    }
    if (fault?.kind === 'not-an-image') {
      return new Response('<html></html>', { headers: { 'Content-Type': fault.contentType } });
    }
    const { order, seed } = found.generation;
    const picture = await this.picture((seed + found.index) % PICTURES, order.resolution);
    return this.answers.bytes(picture, 'image/png', fault);
  }

  /** Drawn once, so that the mock costs little beside what is measured with it. */
  private picture(number: number, resolution: string): Promise<Uint8Array> {
    const name = `${number} ${resolution}`;
    const [width = 1, height = 1] = resolution.split('x').map(Number);
    const picture = this.pictures.get(name) ?? drawPng(number, width, height);
    if (this.pictures.size < MOST_PICTURES) {
      this.pictures.set(name, picture);
    }
    return picture;
  }

  private refusal(request: Request, method: string): Response | null {
    if (request.method !== method) {
      return this.answers.error(405, 'method not allowed');
    }
    const apiKey = request.headers.get('Api-Key');
    if (apiKey === null || !this.apiKeys.has(apiKey)) {
      return this.answers.error(401, 'the API key is missing or unknown');
    }
    return null;
  }

  private async body(request: Request, family: Family): Promise<unknown> {
    const contentType = request.headers.get('Content-Type') ?? '';
    if (contentType.split(';')[0]?.trim().toLowerCase() !== family.contentType) {
      throw new RefusedField(`the content type has to be ${family.contentType}`);
    }
    if (family.contentType === 'application/json') {
      return await request.json();
    }
    const form = await request.formData();
    const fields = Object.fromEntries(form);
    if ([...form].length !== Object.keys(fields).length) {
      throw new RefusedField('a field is there twice');
    }
    return fields;
  }

  private take(stage: MockStage): MockFault | undefined {
    return this.queues.get(stage)?.shift() ?? this.standing.get(stage);
  }

  /** An answer that comes instead of any work. */
  private early(fault: MockFault | undefined): Response | null {
    if (fault?.kind === 'no-connection') {
      throw new TypeError('Network connection lost.');
    }
    if (fault?.kind === 'inflight-limit') {
      return this.inflightLimit(fault.retryAfter);
    }
    if (fault?.kind === 'status') {
      const headers = fault.retryAfter === undefined ? {} : { 'Retry-After': fault.retryAfter };
      return this.answers.json(
        fault.status,
        fault.body === undefined ? { error: `status ${fault.status}` } : fault.body,
        headers,
      );
    }
    return null;
  }

  private async delay(fault: MockFault | undefined, signal: AbortSignal): Promise<void> {
    if (fault?.kind === 'hang') {
      await untilAborted(signal);
    }
    if (fault?.kind === 'latency') {
      await this.wait(fault.milliseconds);
    }
  }

  private inflightLimit(retryAfter?: string): Response {
    // The limit itself is in the answer only now and then.
    const limit =
      this.answers.random() < 0.5 ? { max_inflight_requests: this.maxInflightImages } : {};
    return this.answers.json(
      429,
      { error: 'too many images in progress', reject_reason: 'inflight_limit', ...limit },
      retryAfter === undefined ? {} : { 'Retry-After': retryAfter },
    );
  }
}

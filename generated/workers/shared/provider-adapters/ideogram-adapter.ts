// Ideogram (https://developer.ideogram.ai/): the current family by job and status, the earlier ones by one long call.
import * as v from 'valibot';
import { ProviderAdapter } from './base-adapter';
import { ProviderError } from './errors';
import { type CallContext, callJson, codeIn, textIn } from './http';
import {
  DEFAULT_IDEOGRAM_MODEL,
  IDEOGRAM_MODELS,
  type IdeogramModel,
  type IdeogramOptions,
  type OptionName,
} from './ideogram-families';
import { type Job, readJobId, writeJobId } from './job-id';
import type {
  AdapterOptions,
  ImageResult,
  JobStatus,
  ProviderAnswer,
  ProviderRequest,
} from './types';

export type { IdeogramOptions } from './ideogram-families';

const BASE_URL = 'https://api.ideogram.ai';

const Image = v.object({
  url: v.nullish(v.string()),
  is_image_safe: v.nullish(v.boolean()),
  /** What does not say how large the image is leaves that to the image. */
  resolution: v.fallback(
    v.nullable(v.pipe(v.string(), v.regex(/^[1-9]\d{0,4}x[1-9]\d{0,4}$/))),
    null,
  ),
});

const Images = v.object({
  // One image is asked for.
  data: v.tupleWithRest([Image], v.unknown()),
  /** An image that is there is not given up for a price that is none. */
  usage_cost_usd_micros: v.fallback(
    v.nullable(v.pipe(v.number(), v.gtValue(0), v.transform(Math.ceil), v.safeInteger())),
    null,
  ),
});

const Started = v.object({ generation_id: v.pipe(v.string(), v.regex(/^[\w-]{1,128}$/)) });

const Status = v.object({ status: v.picklist(['pending', 'completed', 'failed']) });

/** By the name of the file, since the answer does not say; the image itself is looked at when it is fetched. */
function formatOf({ pathname }: URL): string {
  const extension = /\.(png|jpe?g|webp)$/.exec(pathname)?.[1] ?? 'png';
  return extension === 'jpg' ? 'jpeg' : extension;
}

export class IdeogramAdapter extends ProviderAdapter {
  static readonly provider: string = 'ideogram';
  static readonly models: readonly string[] = Object.keys(IDEOGRAM_MODELS);
  static readonly defaultModel: string = DEFAULT_IDEOGRAM_MODEL;
  override readonly provider = IdeogramAdapter.provider;
  private readonly baseUrl: string;
  /** What became of jobs that need no further call, by job id. */
  private readonly results = new Map<string, ImageResult>();
  private readonly atOnce = new Set<string>();

  constructor(options: AdapterOptions) {
    super(options);
    this.baseUrl = (options.baseUrl ?? BASE_URL).replace(/\/+$/, '');
  }

  override formatRequest(prompt: string, options: IdeogramOptions = {}): ProviderRequest {
    const model = this.knownModel(options.model, IdeogramAdapter);
    const family = this.familyOf(model);
    for (const [name, value] of Object.entries(options)) {
      const heeded = name === 'model' || family.options.includes(name as OptionName);
      if (value !== undefined && !heeded) {
        throw this.error({ kind: 'invalid_request', message: `${model} takes no ${name}` });
      }
    }
    return {
      provider: this.provider,
      model,
      path: family.path,
      body: family.body(prompt, options),
    };
  }

  override async submitJob(request: ProviderRequest, apiKey = this.apiKey): Promise<string> {
    const { model } = request;
    // Before anything is sent, and paid for.
    const { pollPath } = this.familyOf(model);
    const submittedAtMs = request.firstSubmittedAtMs ?? this.now().getTime();
    const body = await this.ask(this.call('submitMs'), request.path, apiKey, request.body);
    if (pollPath !== undefined && !this.hasImages(body)) {
      const { generation_id: nativeId } = this.read(Started, body);
      return writeJobId({ model, submittedAtMs, nativeId });
    }
    const jobId = writeJobId({ model, submittedAtMs, nativeId: crypto.randomUUID() });
    this.results.set(jobId, this.parseResponse({ model, jobId: null, submittedAtMs, body }));
    this.atOnce.add(jobId);
    return jobId;
  }

  override answeredAtOnce(jobId: string): boolean {
    return this.atOnce.has(jobId);
  }

  override async checkStatus(jobId: string): Promise<JobStatus> {
    if (this.results.has(jobId)) {
      return { status: 'completed' };
    }
    const job = readJobId(jobId);
    const pollPath = job ? IDEOGRAM_MODELS[job.model]?.pollPath : undefined;
    if (!job || pollPath === undefined) {
      throw this.error({ kind: 'not_found', message: 'there is no such job here', jobId });
    }
    return await this.poll(job, jobId, pollPath);
  }

  override async fetchResult(jobId: string): Promise<ImageResult> {
    const status = await this.checkStatus(jobId);
    if (status.status === 'failed') {
      throw status.error;
    }
    const result = this.results.get(jobId);
    if (!result) {
      throw this.error({ kind: 'invalid_request', message: 'the job is still pending', jobId });
    }
    return result;
  }

  override parseResponse(answer: ProviderAnswer): ImageResult {
    const jobId = answer.jobId ?? undefined;
    const { data, usage_cost_usd_micros: cost } = this.read(Images, answer.body, jobId);
    const [image] = data;
    // Withheld images are a success by their status, and have no link, or one that leads nowhere.
    if (image.is_image_safe === false || !image.url) {
      throw this.error({
        kind: 'unsafe_image',
        message: 'it withholds the image as unsafe',
        status: 200,
        jobId,
      });
    }
    if (!URL.canParse(image.url)) {
      throw this.nonsense(jobId);
    }
    return {
      image_url: image.url,
      provider: this.provider,
      model: answer.model,
      metadata: {
        dimensions: image.resolution,
        format: formatOf(new URL(image.url)),
        generation_time_ms: Math.max(0, this.now().getTime() - answer.submittedAtMs),
      },
      usage: { tokens: 0, cost_microdollars: cost ?? this.familyOf(answer.model).listPrice },
    };
  }

  /** Links may also lead to the deployment's own place for the API, which a local one has without TLS. */
  protected override imageUrl(result: ImageResult): string {
    const sameOrigin =
      URL.canParse(result.image_url) &&
      new URL(result.image_url).origin === new URL(this.baseUrl).origin;
    return sameOrigin ? result.image_url : super.imageUrl(result);
  }

  private async poll(job: Job, jobId: string, pollPath: string): Promise<JobStatus> {
    const context = this.call('statusMs', jobId);
    const body = await this.ask(context, `${pollPath}${job.nativeId}`, this.apiKey);
    const { status } = this.read(Status, body, jobId);
    if (status === 'pending') {
      return { status };
    }
    if (status === 'failed') {
      const reason = codeIn(body, 'failure_reason');
      const error = this.error({
        // What speaks of safety means what a 422 at submission would have meant.
        kind: /safe|moderat/i.test(textIn(body, 'failure_reason') ?? '')
          ? 'rejected'
          : 'generation_failed',
        message: 'the generation failed',
        jobId,
        reason,
      });
      return { status, reason: reason ?? 'unknown', error };
    }
    try {
      const { model, submittedAtMs } = job;
      this.results.set(jobId, this.parseResponse({ model, jobId, submittedAtMs, body }));
      return { status: 'completed' };
    } catch (error) {
      if (error instanceof ProviderError && error.kind === 'unsafe_image') {
        return { status: 'failed', reason: error.kind, error };
      }
      throw error;
    }
  }

  private async ask(
    context: CallContext,
    path: string,
    apiKey: string,
    body?: ProviderRequest['body'],
  ): Promise<unknown> {
    // The platform's own complaint about such a header would quote it.
    if (!/^[\x21-\x7e]*$/.test(apiKey)) {
      throw this.error({ kind: 'authentication', message: 'the key cannot be sent' });
    }
    const headers = new Headers({ 'Api-Key': apiKey, Accept: 'application/json' });
    // A redirect would carry the key to wherever it leads.
    const init: RequestInit = { headers, redirect: 'manual', signal: context.signal };
    if (body?.kind === 'json') {
      headers.set('Content-Type', 'application/json');
      Object.assign(init, { method: 'POST', body: JSON.stringify(body.value) });
    } else if (body?.kind === 'form') {
      const form = new FormData();
      for (const [name, value] of Object.entries(body.fields)) {
        form.set(name, value);
      }
      // The content type comes from the form: it has to name its boundary.
      Object.assign(init, { method: 'POST', body: form });
    }
    const request = new Request(`${this.baseUrl}${path}`, init);
    return await callJson(context, request, 'reject_reason');
  }

  private hasImages(body: unknown): boolean {
    return v.is(v.object({ data: v.pipe(v.array(v.unknown()), v.minLength(1)) }), body);
  }

  private read<Schema extends v.GenericSchema>(schema: Schema, body: unknown, jobId?: string) {
    const result = v.safeParse(schema, body);
    if (!result.success) {
      throw this.nonsense(jobId);
    }
    return result.output;
  }

  private nonsense(jobId?: string): ProviderError {
    return this.error({
      kind: 'invalid_response',
      message: 'the answer lacks what it has to say',
      status: 200,
      jobId,
    });
  }

  private familyOf(model: string): IdeogramModel {
    const family = Object.hasOwn(IDEOGRAM_MODELS, model) ? IDEOGRAM_MODELS[model] : undefined;
    if (!family) {
      throw this.error({ kind: 'invalid_request', message: 'the request is for no model here' });
    }
    return family;
  }
}

// A provider without a network, for development and tests: it draws a picture from the prompt, always the same for the same prompt and seed.
import * as v from 'valibot';
import { ProviderAdapter } from './base-adapter';
import { readJobId, writeJobId } from './job-id';
import { drawPng } from './png';
import type {
  AspectRatio,
  GenerationOptions,
  ImageResult,
  JobStatus,
  ProviderAnswer,
  ProviderImage,
  ProviderRequest,
} from './types';

const MODEL = 'development-1';
const LONGER_SIDE_PIXELS = 512;
/** Nobody is paid, yet a generation always has a price: so its way through usage and metrics is seen here, too. */
const PRICE_MICRODOLLARS = 1_000;
const Order = v.object({
  picture: v.pipe(v.string(), v.regex(/^\d{1,10}-[1-9]\d{0,2}x[1-9]\d{0,2}$/)),
});
const PICTURE_LINK = /^development:(\d{1,10})-([1-9]\d{0,2})x([1-9]\d{0,2})$/;

/** FNV-1a: any small change of the text gives another number. */
function hash(text: string): number {
  return new TextEncoder()
    .encode(text)
    .reduce((value, byte) => Math.imul(value ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}

function dimensionsOf(ratio: AspectRatio): string {
  const [width = 1, height = 1] = ratio.split(':').map(Number);
  const scale = LONGER_SIDE_PIXELS / Math.max(width, height);
  return `${Math.round(width * scale)}x${Math.round(height * scale)}`;
}

export class DevelopmentAdapter extends ProviderAdapter {
  static readonly provider: string = 'development';
  static readonly models: readonly string[] = [MODEL];
  static readonly defaultModel: string = MODEL;
  override readonly provider = DevelopmentAdapter.provider;

  override formatRequest(prompt: string, options: GenerationOptions = {}): ProviderRequest {
    const model = this.knownModel(options.model, DevelopmentAdapter);
    if (options.negativePrompt !== undefined) {
      throw this.error({ kind: 'invalid_request', message: `${model} takes no negativePrompt` });
    }
    const picture = `${options.seed ?? hash(prompt)}-${dimensionsOf(options.aspectRatio ?? '1:1')}`;
    return {
      provider: this.provider,
      model,
      path: '',
      body: { kind: 'json', value: { picture } },
    };
  }

  // Promises, as the interface has it: whoever calls cannot tell this provider from one that is far away.
  override submitJob(request: ProviderRequest, apiKey = this.apiKey): Promise<string> {
    return Promise.resolve().then(() => {
      if (apiKey === '') {
        throw this.error({ kind: 'authentication', message: 'it wants any key', status: 401 });
      }
      const { model, body } = request;
      return writeJobId({
        model,
        submittedAtMs: request.firstSubmittedAtMs ?? this.now().getTime(),
        nativeId: this.pictureIn(body.kind === 'json' ? body.value : null),
      });
    });
  }

  override checkStatus(jobId: string): Promise<JobStatus> {
    return this.fetchResult(jobId).then(() => ({ status: 'completed' }));
  }

  override fetchResult(jobId: string): Promise<ImageResult> {
    return Promise.resolve().then(() => {
      const job = readJobId(jobId);
      if (job?.model !== MODEL) {
        throw this.error({ kind: 'not_found', message: 'there is no such job here', jobId });
      }
      const { model, submittedAtMs, nativeId: picture } = job;
      return this.parseResponse({ model, jobId, submittedAtMs, body: { picture } });
    });
  }

  override parseResponse(answer: ProviderAnswer): ImageResult {
    const picture = this.pictureIn(answer.body, answer.jobId ?? undefined);
    return {
      image_url: `development:${picture}`,
      provider: this.provider,
      model: answer.model,
      metadata: {
        dimensions: picture.slice(picture.indexOf('-') + 1),
        format: 'png',
        generation_time_ms: Math.max(0, this.now().getTime() - answer.submittedAtMs),
      },
      usage: { tokens: 0, cost_microdollars: PRICE_MICRODOLLARS },
    };
  }

  override async fetchImage(result: ImageResult): Promise<ProviderImage> {
    const numbers = PICTURE_LINK.exec(result.image_url)?.slice(1).map(Number) ?? [];
    const [seed, width, height] = numbers;
    if (seed === undefined || width === undefined || height === undefined) {
      throw this.error({ kind: 'image_unavailable', message: 'the link is none of its own' });
    }
    const bytes = await drawPng(seed, width, height);
    const body = new Blob([bytes]).stream();
    return {
      body,
      contentType: 'image/png',
      sizeBytes: bytes.length,
      dimensions: `${width}x${height}`,
    };
  }

  /** What to draw: a seed and a size, as in `7-512x288`. */
  private pictureIn(body: unknown, jobId?: string): string {
    const result = v.safeParse(Order, body);
    if (!result.success) {
      throw this.error({
        kind: 'invalid_response',
        message: 'the answer lacks what it has to say',
        jobId,
      });
    }
    return result.output.picture;
  }
}

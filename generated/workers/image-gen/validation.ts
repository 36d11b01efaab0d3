// The body of `POST /generate`: read before anything else, since the caller's key and the request's id may stand in it.
import * as v from 'valibot';
import { readBody } from '@/infrastructure/config-service/http/body';
import { IDENTIFIER } from '@/infrastructure/config-service/http/router';
import { ValidationError } from '@/workers/shared/error-handling/errors';
import { UnknownNameError } from '@/workers/shared/provider-adapters/errors';
import { adapterRegistry } from '@/workers/shared/provider-adapters/registry';

const PROMPT_CHARACTERS_MAX = 10_000;

const Identifier = v.pipe(v.string(), v.regex(IDENTIFIER, 'must be an identifier'));

const Body = v.strictObject({
  prompt: v.pipe(
    v.string(),
    v.trim(),
    v.minLength(1, 'must not be empty'),
    v.maxLength(PROMPT_CHARACTERS_MAX, `may have ${PROMPT_CHARACTERS_MAX} characters`),
  ),
  model: v.optional(v.string()),
  provider: v.optional(v.string()),
  instance_id: v.optional(Identifier),
  project_id: v.optional(Identifier),
  api_key: v.optional(v.string()),
  request_id: v.optional(v.pipe(v.string(), v.uuid('must be a UUID'), v.toLowerCase())),
});

export interface GenerateInput {
  prompt: string;
  provider: string;
  model: string;
  /** Null if the request names none. */
  instanceId: string | null;
  projectId: string | null;
  apiKey: string | undefined;
  /** Makes the call idempotent; null if the caller sent none. */
  requestId: string | null;
}

/** What was read, or why it cannot be: that is told once there is somebody to tell it. */
export type ParsedBody = { input: GenerateInput } | { error: unknown };

function chooseProvider(wish: { provider?: string | undefined; model?: string | undefined }) {
  try {
    return adapterRegistry.choose(wish);
  } catch (error) {
    if (error instanceof UnknownNameError) {
      // What the caller sent is not repeated.
      throw new ValidationError(`${error.what}: must be one of ${error.known.join(', ')}`);
    }
    throw error;
  }
}

/** What the header names, else the body. Apart from the body's validation: a body may be valid, and contradict the header. */
export function instanceNamedBy(request: Request, { instanceId }: GenerateInput): string | null {
  // Also an empty header names an instance: one that cannot exist.
  const header = request.headers.get('X-Instance-ID');
  if (header !== null && instanceId !== null && header !== instanceId) {
    throw new ValidationError('instance_id: the header X-Instance-ID names another instance');
  }
  return header ?? instanceId;
}

/** Never rejects. */
export async function parseGenerateBody(request: Request): Promise<ParsedBody> {
  try {
    const body = await readBody(request, Body);
    const { provider, model } = chooseProvider(body);
    return {
      input: {
        prompt: body.prompt,
        provider,
        model,
        instanceId: body.instance_id ?? null,
        projectId: body.project_id ?? null,
        apiKey: body.api_key,
        requestId: body.request_id ?? null,
      },
    };
  } catch (error) {
    return { error };
  }
}

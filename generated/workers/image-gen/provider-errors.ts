// What a failure of a provider, or of storing its image, means for our caller.
import {
  InternalError,
  type PlatformError,
  ProviderError,
  ProviderRejectedError,
  ProviderTimeoutError,
  RateLimitedError,
  toPlatformError,
} from '@/workers/shared/error-handling/errors';
import { ProviderError as AdapterError } from '@/workers/shared/provider-adapters/errors';
import { StorageError } from '@/workers/shared/r2-manager/storage';

function ofAdapter(error: AdapterError): PlatformError {
  const { provider, kind, retryable, retryAfterSeconds } = error;
  const options = { cause: error, retryable, retryAfterSeconds };
  switch (kind) {
    case 'rejected':
      return new ProviderRejectedError(`${provider} refuses this prompt as unsafe`, options);
    case 'unsafe_image':
      return new ProviderRejectedError(`${provider} withholds the image as unsafe`, options);
    case 'rate_limited':
      return new RateLimitedError(`${provider} has too much to do; try again later`, options);
    case 'timeout':
      return new ProviderTimeoutError(undefined, options);
    default:
      return new ProviderError(`${provider} could not make the image`, options);
  }
}

function ofStorage(error: StorageError): PlatformError {
  switch (error.kind) {
    case 'source_failed':
      return error.cause instanceof AdapterError
        ? ofAdapter(error.cause)
        : new ProviderError('the image of the provider broke off', {
            cause: error,
            retryable: true,
          });
    case 'empty':
    case 'too_large':
    case 'not_an_image':
      return new ProviderError('the provider sent no image that can be stored', { cause: error });
    default:
      return new InternalError({ cause: error });
  }
}

export function toGenerationError(error: unknown): PlatformError {
  if (error instanceof AdapterError) {
    return ofAdapter(error);
  }
  return error instanceof StorageError ? ofStorage(error) : toPlatformError(error);
}

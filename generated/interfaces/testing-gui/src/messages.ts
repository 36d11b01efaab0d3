// What each failure is called, and what a person can do about it.
import { formatSeconds } from './values';
import { type Outcome, type Refusal, TIME_LIMIT_MS } from './worker-client';

export interface Explanation {
  title: string;
  advice: string | null;
}

const BY_CODE: Record<string, Explanation> = {
  VALIDATION_FAILED: { title: 'The request is not valid', advice: null },
  AUTH_FAILED: {
    title: 'The key was not accepted',
    advice: 'It may be mistyped, revoked or expired.',
  },
  FORBIDDEN: {
    title: 'Not allowed with this key',
    advice: 'Ask an administrator for access to the instance.',
  },
  NOT_FOUND: {
    title: 'Not found',
    advice: 'The instance or the job does not exist, or config.json names the wrong Worker.',
  },
  CONFLICT: { title: 'This request is already running', advice: null },
  PROVIDER_REJECTED: {
    title: 'The provider rejected this prompt',
    advice: 'Its safety rules refuse it. Another wording may pass.',
  },
  RATE_LIMITED: { title: 'The rate limit is reached', advice: null },
  INTERNAL_ERROR: { title: 'The Worker failed', advice: 'Its log has more under the request id.' },
  PROVIDER_ERROR: {
    title: 'The provider failed',
    advice: 'Nothing was charged. Try again in a moment.',
  },
  CONFIG_UNAVAILABLE: {
    title: 'No configuration to be had',
    advice: 'The Config Service does not answer. Try again in a moment.',
  },
  PROVIDER_TIMEOUT: {
    title: 'The image is not ready yet',
    advice: 'The provider took too long for one request. The job goes on.',
  },
};

export function explainRefusal(refusal: Refusal): Explanation {
  return BY_CODE[refusal.code ?? ''] ?? { title: 'The request failed', advice: null };
}

/** Outcomes without an error of the contract in them. */
export function explainOutcome(
  outcome: Exclude<Outcome, { kind: 'image' | 'refused' }>,
): Explanation {
  switch (outcome.kind) {
    case 'job-pending':
      return { title: 'Still being generated', advice: 'Ask again in a few seconds.' };
    case 'job-failed':
      return { title: 'The job failed', advice: 'It will not continue. Generate anew.' };
    case 'unreadable':
      return {
        title: 'An answer that cannot be read',
        advice: 'Something other than the Worker may be at this address.',
      };
    case 'unreachable':
      return {
        title: 'The Worker cannot be reached',
        advice: `No connection to ${outcome.origin}, or it does not allow this page's origin.`,
      };
    case 'timed-out':
      return {
        title: 'No answer in time',
        advice: `Nothing came within ${formatSeconds(TIME_LIMIT_MS / 1000)}. The image may have been generated all the same.`,
      };
    case 'cancelled':
      return {
        title: 'Cancelled',
        advice: 'This page no longer waits. The image may be generated all the same.',
      };
  }
}

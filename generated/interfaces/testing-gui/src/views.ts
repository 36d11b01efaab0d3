// What the result's side shows: nothing yet, work in progress, an image, or what went wrong.
import { copyButton } from './copy';
import { button, element, icon, linkOrText } from './dom';
import { type Explanation, explainOutcome, explainRefusal } from './messages';
import { formatClock, formatDuration, formatSeconds, isHttpUrl } from './values';
import type { GeneratedImage, Outcome, Refusal } from './worker-client';

export type Announce = (message: string) => void;

export function emptyView(): HTMLElement {
  return element(
    'div',
    { class: 'placeholder' },
    icon('image'),
    element('p', { class: 'placeholder-title' }, 'No image yet'),
    element(
      'p',
      {},
      'Write a prompt and generate: the image and everything about it appears here.',
    ),
  );
}

export interface WorkingView {
  node: HTMLElement;
  cancelButton: HTMLButtonElement;
  setElapsed: (seconds: number) => void;
}

export function workingView(label: string, limitSeconds: number, cancel: () => void): WorkingView {
  const elapsed = element('span', { class: 'elapsed' }, formatSeconds(0));
  const cancelButton = button('Cancel', cancel);
  const node = element(
    'div',
    { class: 'working' },
    element('div', { class: 'canvas-wait', 'aria-hidden': 'true' }, icon('image')),
    element(
      'div',
      { class: 'working-line' },
      element('span', { class: 'spinner', 'aria-hidden': 'true' }),
      element(
        'p',
        {},
        element('strong', {}, label),
        element('span', { class: 'hint' }, elapsed, ` of at most ${formatSeconds(limitSeconds)}`),
      ),
      cancelButton,
    ),
  );
  const setElapsed = (seconds: number) => {
    elapsed.textContent = formatSeconds(seconds);
  };
  return { node, cancelButton, setElapsed };
}

interface Row {
  name: string;
  value: Node | string;
  /** What its button copies; no button without. */
  copy?: string | null;
}

function details(rows: Row[], announce: Announce): HTMLElement {
  const list = element('dl', { class: 'details' });
  for (const { name, value, copy } of rows) {
    const subject = name.startsWith('R2') || name.startsWith('CDN') ? name : name.toLowerCase();
    list.append(
      element(
        'div',
        {},
        element('dt', {}, name),
        element(
          'dd',
          {},
          element('span', { class: 'value' }, value),
          copy == null ? null : copyButton(subject, copy, announce),
        ),
      ),
    );
  }
  return list;
}

function picture(image: GeneratedImage, prompt: string, announce: Announce): HTMLElement {
  const frame = element('div', { class: 'frame' });
  const showMissing = (why: string, retry: boolean) => {
    const again = retry ? button('Load again', load) : null;
    const text = element('p', {}, element('strong', {}, 'The image cannot be shown'), ` ${why}`);
    frame.replaceChildren(element('div', { class: 'notice' }, icon('alert'), text, again));
    announce(`The image cannot be shown. ${why}`);
  };
  function load() {
    const node = element('img', { alt: prompt, class: 'loading' });
    node.addEventListener('load', () => node.classList.remove('loading'));
    node.addEventListener('error', () =>
      showMissing('It was generated and stored, but does not load from its address.', true),
    );
    node.src = image.imageUrl;
    frame.replaceChildren(node);
  }
  if (isHttpUrl(image.imageUrl)) {
    load();
  } else {
    showMissing('Its address is neither http nor https.', false);
  }
  return frame;
}

export function imageView(image: GeneratedImage, prompt: string, announce: Announce): HTMLElement {
  const time = image.generationTimeMs === null ? '–' : formatDuration(image.generationTimeMs);
  return element(
    'div',
    { class: 'outcome' },
    picture(image, prompt, announce),
    details(
      [
        { name: 'CDN URL', value: linkOrText(image.imageUrl), copy: image.imageUrl },
        { name: 'R2 path', value: image.r2Path, copy: image.r2Path },
        { name: 'Provider', value: image.provider },
        { name: 'Model', value: image.model },
        { name: 'Dimensions', value: image.dimensions },
        { name: 'Generation time', value: time },
        { name: 'Request id', value: image.requestId, copy: image.requestId },
      ],
      announce,
    ),
  );
}

interface Failure extends Explanation {
  /** The Worker's own words. */
  message: string | null;
  tone: 'error' | 'wait';
  rows: Row[];
}

function retryNote(seconds: number | null): string | null {
  if (seconds === null) {
    return null;
  }
  const at = formatClock(Date.now() + seconds * 1000);
  return `Try again in ${formatSeconds(seconds)}, at ${at}.`;
}

function refusalFailure(refusal: Refusal): Failure {
  const { title, advice } = explainRefusal(refusal);
  const retry = retryNote(refusal.retryAfterSeconds);
  const rows: Row[] = [
    { name: 'Status', value: String(refusal.status) },
    { name: 'Code', value: refusal.code ?? '–' },
  ];
  if (refusal.jobId !== null) {
    rows.push({ name: 'Job id', value: refusal.jobId, copy: refusal.jobId });
  }
  rows.push({ name: 'Request id', value: refusal.requestId ?? '–', copy: refusal.requestId });
  const tone = [429, 504].includes(refusal.status) ? 'wait' : 'error';
  const fullAdvice = [advice, retry].filter((part) => part !== null).join(' ');
  const words = fullAdvice === '' ? null : fullAdvice;
  return { title, advice: words, message: refusal.message, tone, rows };
}

function failureOf(outcome: Exclude<Outcome, { kind: 'image' }>): Failure {
  if (outcome.kind === 'refused') {
    return refusalFailure(outcome.refusal);
  }
  const rows: Row[] = [];
  let message: string | null = null;
  if (outcome.kind === 'unreadable') {
    message = outcome.detail;
    rows.push({ name: 'Status', value: String(outcome.status) });
  }
  if (outcome.kind === 'job-failed') {
    rows.push({ name: 'Reason', value: outcome.reason });
  }
  if (outcome.kind === 'job-failed' || outcome.kind === 'job-pending') {
    rows.push({ name: 'Job id', value: outcome.jobId, copy: outcome.jobId });
  }
  if ('requestId' in outcome && outcome.requestId !== null) {
    rows.push({ name: 'Request id', value: outcome.requestId, copy: outcome.requestId });
  }
  const tone = ['job-pending', 'cancelled'].includes(outcome.kind) ? 'wait' : 'error';
  return { ...explainOutcome(outcome), message, tone, rows };
}

/** Title and advice, for those who hear the page. */
export function spokenFailure(outcome: Exclude<Outcome, { kind: 'image' }>): string {
  const { title, message, advice } = failureOf(outcome);
  return [`${title}.`, message, advice].filter((part) => part !== null).join(' ');
}

export function failureView(
  outcome: Exclude<Outcome, { kind: 'image' }>,
  action: HTMLElement | null,
  announce: Announce,
): HTMLElement {
  const { title, message, advice, tone, rows } = failureOf(outcome);
  return element(
    'div',
    { class: `outcome failure ${tone}` },
    element(
      'div',
      { class: 'banner' },
      icon(tone === 'wait' ? 'clock' : 'alert'),
      element(
        'div',
        {},
        element('h3', {}, title),
        message === null ? null : element('p', { class: 'message' }, message),
        advice === null ? null : element('p', {}, advice),
        action,
      ),
    ),
    rows.length === 0 ? null : details(rows, announce),
  );
}

export function brokenPageView(message: string, retry: () => void): HTMLElement {
  return element(
    'div',
    { class: 'outcome failure error' },
    element(
      'div',
      { class: 'banner' },
      icon('alert'),
      element(
        'div',
        {},
        element('h3', {}, 'This page is not configured'),
        element('p', { class: 'message' }, message),
        button('Try again', retry),
      ),
    ),
  );
}

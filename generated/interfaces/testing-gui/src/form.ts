// The form: its fields, what they say before anything is sent, and its dropdowns.
import type { Configuration, Worker } from './configuration';
import { element, required } from './dom';
import { formatCount } from './values';

const PROMPT_MAX_CHARACTERS = 10_000;

export interface FormValues {
  key: string;
  worker: Worker;
  prompt: string;
  model: string | null;
}

type Control = HTMLInputElement | HTMLTextAreaElement;

/** What a header can carry; `fetch` would throw on the rest, which would look like an unreachable Worker. */
const SENDABLE = /^[\x21-\x7e]+$/;

function showFieldError(control: Control, message: string | null): void {
  const line = required(`${control.id}-error`, HTMLElement);
  line.textContent = message ?? '';
  line.hidden = message === null;
  if (message === null) {
    control.removeAttribute('aria-invalid');
  } else {
    control.setAttribute('aria-invalid', 'true');
  }
}

function keyError(key: string): string | null {
  if (key === '') {
    return 'Enter an API key.';
  }
  return SENDABLE.test(key) ? null : 'This holds characters that no key has.';
}

function promptError(prompt: string): string | null {
  if (prompt === '') {
    return 'Describe the image.';
  }
  return prompt.length > PROMPT_MAX_CHARACTERS
    ? `At most ${formatCount(PROMPT_MAX_CHARACTERS)} characters; this has ${formatCount(prompt.length)}.`
    : null;
}

export class RequestForm {
  readonly #form = required('request-form', HTMLFormElement);
  readonly #key = required('api-key', HTMLInputElement);
  readonly #instance = required('instance', HTMLSelectElement);
  readonly #model = required('model', HTMLSelectElement);
  readonly #prompt = required('prompt', HTMLTextAreaElement);
  readonly #counter = required('prompt-counter', HTMLElement);
  readonly #generate = required('generate', HTMLButtonElement);
  #workers: Worker[] = [];

  constructor(onSubmit: () => void) {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      onSubmit();
    });
    this.#prompt.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !event.isComposing) {
        event.preventDefault();
        onSubmit();
      }
    });
    this.#key.addEventListener('input', () => showFieldError(this.#key, null));
    this.#prompt.addEventListener('input', () => {
      showFieldError(this.#prompt, null);
      this.#count();
    });
    this.#count();
  }

  configure(configuration: Configuration): void {
    this.#workers = configuration.workers;
    this.#instance.replaceChildren(
      ...configuration.workers.map(({ instanceId }) =>
        element('option', { value: instanceId }, instanceId),
      ),
    );
    this.#instance.disabled = false;
    this.#model.append(
      ...configuration.models.map((model) => element('option', { value: model }, model)),
    );
    this.#generate.disabled = false;
  }

  setBusy(busy: boolean): void {
    this.#generate.disabled = busy;
    this.#generate.textContent = busy ? 'Generating…' : 'Generate';
  }

  /** The key as it stands, or null after saying at the field what is wrong with it. */
  readKey(): string | null {
    const key = this.#key.value.trim();
    const error = keyError(key);
    showFieldError(this.#key, error);
    if (error !== null) {
      this.#key.focus();
      return null;
    }
    return key;
  }

  /** All values, or null after saying at each field what is wrong with it; the first such field has the focus. */
  read(): FormValues | null {
    const prompt = this.#prompt.value.trim();
    const error = promptError(prompt);
    showFieldError(this.#prompt, error);
    if (error !== null) {
      this.#prompt.focus();
    }
    const key = this.readKey();
    const worker = this.#workers.find(({ instanceId }) => instanceId === this.#instance.value);
    if (error !== null || key === null || worker === undefined) {
      return null;
    }
    return { key, worker, prompt, model: this.#model.value === '' ? null : this.#model.value };
  }

  #count(): void {
    const length = this.#prompt.value.trim().length;
    this.#counter.textContent = `${formatCount(length)} / ${formatCount(PROMPT_MAX_CHARACTERS)}`;
    this.#counter.classList.toggle('over', length > PROMPT_MAX_CHARACTERS);
  }
}

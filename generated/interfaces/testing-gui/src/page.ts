// The page: one request at a time, from the form to what came of it.
import { loadConfiguration } from './configuration';
import { button, required } from './dom';
import { RequestForm } from './form';
import {
  brokenPageView,
  emptyView,
  failureView,
  imageView,
  spokenFailure,
  workingView,
} from './views';
import { fetchJob, generateImage, type Outcome, TIME_LIMIT_MS } from './worker-client';

/** A job that was begun, and where to ask for it. */
interface Job {
  id: string;
  workerUrl: string;
}

/** What a running request was about; the form may change meanwhile. */
interface Subject {
  workerUrl: string;
  prompt: string;
}

type Start = (signal: AbortSignal) => Promise<Outcome>;

class Page {
  readonly #form = new RequestForm(() => void this.#generate());
  readonly #stage = required('stage', HTMLElement);
  readonly #title = required('result-title', HTMLElement);
  readonly #announcement = required('announcement', HTMLElement);
  readonly #alarm = required('alarm', HTMLElement);
  readonly #fetch: typeof fetch;
  #running: AbortController | null = null;

  constructor(load: typeof fetch) {
    this.#fetch = load;
    this.#stage.replaceChildren(emptyView());
  }

  configure = async (): Promise<void> => {
    try {
      this.#form.configure(await loadConfiguration(this.#fetch));
      this.#stage.replaceChildren(emptyView());
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#stage.replaceChildren(brokenPageView(message, () => void this.configure()));
      this.#alarm.textContent = message;
    }
  };

  readonly #announce = (message: string): void => {
    this.#announcement.textContent = message;
  };

  async #generate(): Promise<void> {
    if (this.#running !== null) {
      return;
    }
    const values = this.#form.read();
    if (values === null) {
      return;
    }
    const { key, worker, prompt, model } = values;
    const subject = { workerUrl: worker.url, prompt };
    const request = { workerUrl: worker.url, instanceId: worker.instanceId, prompt, model };
    await this.#run('Generating the image', subject, null, (signal) =>
      generateImage(request, { key, signal, fetch: this.#fetch }),
    );
  }

  async #askForJob(job: Job, subject: Subject): Promise<void> {
    const key = this.#running === null ? this.#form.readKey() : null;
    if (key === null) {
      return;
    }
    await this.#run('Asking for the job', subject, job, (signal) =>
      fetchJob(job.workerUrl, job.id, { key, signal, fetch: this.#fetch }),
    );
  }

  async #run(label: string, subject: Subject, job: Job | null, start: Start): Promise<void> {
    const controller = new AbortController();
    this.#running = controller;
    this.#form.setBusy(true);
    const startedMs = Date.now();
    const view = workingView(label, TIME_LIMIT_MS / 1000, () => controller.abort());
    const clock = setInterval(
      () => view.setElapsed(Math.floor((Date.now() - startedMs) / 1000)),
      1_000,
    );
    // The button that was pressed is now disabled, or gone: without this the focus would be nowhere.
    this.#stage.replaceChildren(view.node);
    this.#stage.setAttribute('aria-busy', 'true');
    this.#alarm.textContent = '';
    this.#announce(`${label}…`);
    view.cancelButton.focus();

    const outcome = await start(controller.signal);

    clearInterval(clock);
    this.#running = null;
    this.#form.setBusy(false);
    this.#stage.removeAttribute('aria-busy');
    // Somebody who is typing meanwhile keeps the focus.
    const waiting = [null, document.body, view.cancelButton].includes(
      document.activeElement as HTMLElement | null,
    );
    this.#show(outcome, subject, job);
    if (waiting) {
      this.#title.focus();
    }
  }

  #show(outcome: Outcome, subject: Subject, askedJob: Job | null): void {
    if (outcome.kind === 'image') {
      this.#stage.replaceChildren(imageView(outcome.image, subject.prompt, this.#announce));
      this.#announce('The image is ready.');
      return;
    }
    const job = this.#jobOf(outcome, subject, askedJob);
    const label = askedJob === null ? 'Fetch the result' : 'Ask again';
    const ask = job && button(label, () => void this.#askForJob(job, subject), 'primary');
    this.#stage.replaceChildren(failureView(outcome, ask, this.#announce));
    this.#announce('');
    this.#alarm.textContent = spokenFailure(outcome);
  }

  /** The job that is still worth asking for. */
  #jobOf(outcome: Outcome, subject: Subject, askedJob: Job | null): Job | null {
    if (outcome.kind === 'refused' && outcome.refusal.jobId !== null) {
      return { id: outcome.refusal.jobId, workerUrl: subject.workerUrl };
    }
    return outcome.kind === 'job-failed' ? null : askedJob;
  }
}

export async function startPage(
  load: typeof fetch = (input, init) => fetch(input, init),
): Promise<void> {
  await new Page(load).configure();
}

// Edits name and configuration of an instance. Notices when somebody else has changed it since it was opened.
import { type FormEvent, useRef, useState } from 'react';
import type { Instance } from '../../api/types';
import { useAnnounce } from '../../components/announcer';
import { Button, Panel } from '../../components/elements';
import { Field, focusFirstInvalid } from '../../components/field';
import { Icon } from '../../components/icons';
import { Failure } from '../../components/states';
import { UnsavedGuard } from '../../components/unsaved-guard';
import {
  changeOf,
  type Draft,
  draftOf,
  type Problems,
  problemsFromService,
  problemsOf,
} from '../../forms/instance-draft';
import { useSubmission } from '../../hooks/use-submission';
import { useSession } from '../../session/session';
import { ConfigFields } from './config-fields';

/** Somebody else's change: to be looked at, or to be merged with. */
function OutdatedNotice({
  isBusy,
  onShow,
  onSave,
}: {
  isBusy: boolean;
  onShow: () => void;
  onSave: () => void;
}) {
  return (
    <div role="alert" className="mt-4 flex gap-3 rounded-xl bg-warning-soft p-4 text-sm">
      <Icon name="alert" className="mt-0.5 text-warning" />
      <div>
        <p className="font-semibold">Somebody else changed this instance in the meantime</p>
        <p className="mt-0.5">
          Saving still applies only what you changed here; for the same fields, yours wins.
        </p>
        <div className="mt-3 flex flex-wrap gap-3">
          <Button small onClick={onSave} disabled={isBusy}>
            Save my changes
          </Button>
          <Button small tone="quiet" onClick={onShow}>
            Discard mine and show the present state
          </Button>
        </div>
      </div>
    </div>
  );
}

export function EditForm({
  instance,
  onSaved,
}: {
  instance: Instance;
  onSaved: (instance: Instance) => void;
}) {
  const { client } = useSession();
  const announce = useAnnounce();
  const submission = useSubmission();
  const form = useRef<HTMLFormElement>(null);
  // What the form was opened with: changes are told by comparing with it, also after the page has loaded a newer state.
  const [opened, setOpened] = useState(instance);
  const [draft, setDraft] = useState<Draft>(() => draftOf(instance));
  const [problems, setProblems] = useState<Problems>({});
  const [isJson, setJson] = useState(false);
  const [present, setPresent] = useState<Instance | null>(null);
  const isDirty = changeOf(opened, draft) !== null || isJson;

  const open = (state: Instance) => {
    setOpened(state);
    setDraft(draftOf(state));
    setProblems({});
    setPresent(null);
    setJson(false);
    submission.clear();
  };

  const show = (found: Problems) => {
    setProblems(found);
    focusFirstInvalid(form.current);
  };

  const save = (isAware: boolean) => {
    const change = changeOf(opened, draft);
    const found = problemsOf(draft, { isNew: false });
    show(found);
    if (change === null || Object.keys(found).length > 0) {
      return;
    }
    void submission.run(
      async () => {
        const current = isAware ? null : await client.instance(opened.instance_id);
        if (current !== null && current.updated_at !== opened.updated_at) {
          setPresent(current);
          return;
        }
        const saved = await client.changeInstance(opened.instance_id, change);
        announce('Changes saved');
        open(saved);
        onSaved(saved);
      },
      (failure) => {
        if (failure.code === 'VALIDATION_FAILED') {
          show(problemsFromService(failure.message, draft));
        }
      },
    );
  };

  return (
    <Panel title="Configuration">
      <UnsavedGuard isDirty={isDirty} />
      <form
        ref={form}
        noValidate
        className="space-y-5"
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          save(false);
        }}
      >
        <Field label="Name" error={problems.name} className="max-w-md">
          {(control) => (
            <input
              {...control}
              className="control"
              value={draft.name}
              autoComplete="off"
              onChange={(event) => setDraft({ ...draft, name: event.target.value })}
            />
          )}
        </Field>
        <ConfigFields
          draft={draft}
          problems={problems}
          isJson={isJson}
          onJson={setJson}
          onChange={(change) => setDraft((current) => ({ ...current, ...change }))}
        />
        {present !== null && (
          <OutdatedNotice
            isBusy={submission.isBusy}
            onSave={() => save(true)}
            onShow={() => open(present)}
          />
        )}
        {submission.failure !== null && <Failure failure={submission.failure} compact />}
        <div className="flex flex-wrap items-center gap-3 border-t border-line pt-5">
          <Button type="submit" tone="primary" disabled={!isDirty || isJson || submission.isBusy}>
            {submission.isBusy ? 'Saving…' : 'Save changes'}
          </Button>
          {isDirty && !isJson && (
            <Button tone="quiet" onClick={() => open(opened)}>
              Discard
            </Button>
          )}
        </div>
      </form>
    </Panel>
  );
}

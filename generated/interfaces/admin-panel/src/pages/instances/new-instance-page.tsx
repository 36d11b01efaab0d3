// The form of a new instance.
import { type FormEvent, useRef, useState } from 'react';
import { useNavigate } from 'react-router';
import { useAnnounce } from '../../components/announcer';
import { Button, LinkButton, Panel } from '../../components/elements';
import { Field, focusFirstInvalid } from '../../components/field';
import { useOrganizations } from '../../components/organization-filter';
import { PageTitle } from '../../components/shell';
import { Failure } from '../../components/states';
import { UnsavedGuard, WORK_IS_DONE } from '../../components/unsaved-guard';
import {
  type Draft,
  emptyDraft,
  newInstanceOf,
  type Problems,
  problemsFromService,
  problemsOf,
} from '../../forms/instance-draft';
import { useSubmission } from '../../hooks/use-submission';
import { useSession } from '../../session/session';
import { ConfigFields } from './config-fields';

export function NewInstancePage() {
  const { client, me } = useSession();
  const navigate = useNavigate();
  const announce = useAnnounce();
  const organizations = useOrganizations();
  const submission = useSubmission();
  const form = useRef<HTMLFormElement>(null);
  const [draft, setDraft] = useState<Draft>(() => emptyDraft(me.org_id));
  const [problems, setProblems] = useState<Problems>({});
  const [isJson, setJson] = useState(false);
  const [isTouched, setTouched] = useState(false);

  const change = (changes: Partial<Draft>) => {
    setDraft((current) => ({ ...current, ...changes }));
    setTouched(true);
  };

  const show = (found: Problems) => {
    setProblems(found);
    focusFirstInvalid(form.current);
  };

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const found = problemsOf(draft, { isNew: true });
    show(found);
    if (Object.keys(found).length > 0) {
      return;
    }
    void submission.run(
      async () => {
        const created = await client.createInstance(newInstanceOf(draft));
        announce(`${created.name} created`);
        await navigate(`/instances/id/${created.instance_id}`, { state: WORK_IS_DONE });
      },
      (failure) => {
        if (failure.code === 'CONFLICT') {
          show({ instance_id: failure.message });
        } else if (failure.code === 'VALIDATION_FAILED') {
          show(problemsFromService(failure.message, draft));
        }
      },
    );
  };

  return (
    <>
      <PageTitle title="New instance" back={{ to: '/instances', label: 'Instances' }} />
      <UnsavedGuard isDirty={isTouched} />
      <form ref={form} noValidate onSubmit={submit} className="max-w-3xl">
        <Panel>
          <div className="space-y-5">
            <div className="grid gap-5 sm:grid-cols-2">
              <Field label="Name" error={problems.name}>
                {(control) => (
                  <input
                    {...control}
                    className="control"
                    value={draft.name}
                    autoComplete="off"
                    onChange={(event) => change({ name: event.target.value })}
                  />
                )}
              </Field>
              <Field
                label="Id (optional)"
                hint="Cannot be changed later. Empty: one is made."
                error={problems.instance_id}
              >
                {(control) => (
                  <input
                    {...control}
                    className="control font-mono"
                    placeholder="staging"
                    value={draft.instanceId}
                    autoComplete="off"
                    autoCapitalize="none"
                    spellCheck={false}
                    onChange={(event) => change({ instanceId: event.target.value })}
                  />
                )}
              </Field>
              {organizations.length > 1 && (
                <Field label="Organisation" error={problems.org_id}>
                  {(control) => (
                    <select
                      {...control}
                      className="control"
                      value={draft.orgId}
                      onChange={(event) => change({ orgId: event.target.value })}
                    >
                      {organizations.map(({ org_id, name }) => (
                        <option key={org_id} value={org_id}>
                          {name}
                        </option>
                      ))}
                    </select>
                  )}
                </Field>
              )}
            </div>
            <ConfigFields
              draft={draft}
              problems={problems}
              isJson={isJson}
              onJson={setJson}
              onChange={change}
            />
          </div>
        </Panel>
        {submission.failure !== null && (
          <div className="mt-4">
            <Failure failure={submission.failure} compact />
          </div>
        )}
        <div className="mt-5 flex gap-3">
          <Button type="submit" tone="primary" disabled={submission.isBusy || isJson}>
            {submission.isBusy ? 'Creating…' : 'Create instance'}
          </Button>
          <LinkButton to="/instances">Cancel</LinkButton>
        </div>
      </form>
    </>
  );
}

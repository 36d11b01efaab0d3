// The configuration of an instance, as a form or as JSON: two views of one draft.
import { useState } from 'react';
import { Button } from '../../components/elements';
import { Field } from '../../components/field';
import { JsonProblem, jsonOf, withJson } from '../../forms/config-json';
import type { Draft, Problems } from '../../forms/instance-draft';
import { KeyRows, LimitRows, UrlRows } from './config-rows';

function JsonEditor({
  draft,
  onDone,
  onCancel,
}: {
  draft: Draft;
  onDone: (draft: Draft) => void;
  onCancel: () => void;
}) {
  const [text, setText] = useState(() => jsonOf(draft));
  const [problem, setProblem] = useState<string>();

  const take = () => {
    try {
      onDone(withJson(draft, text));
    } catch (error) {
      if (!(error instanceof JsonProblem)) {
        throw error;
      }
      setProblem(error.message);
    }
  };

  return (
    <div className="border-t border-line pt-5">
      <Field
        label="Configuration as JSON"
        hint="Masked keys stay as they are. Applying it fills the form; nothing is saved yet."
        error={problem}
      >
        {(control) => (
          <textarea
            {...control}
            className="control min-h-80 font-mono text-sm"
            spellCheck={false}
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        )}
      </Field>
      <div className="mt-3 flex gap-3">
        <Button small onClick={take}>
          Apply to the form
        </Button>
        <Button small tone="quiet" onClick={onCancel}>
          Discard
        </Button>
      </div>
    </div>
  );
}

export function ConfigFields({
  draft,
  problems,
  isJson,
  onJson,
  onChange,
}: {
  draft: Draft;
  problems: Problems;
  /** Held above: while the JSON is open, what it holds is not part of the draft. */
  isJson: boolean;
  onJson: (isJson: boolean) => void;
  onChange: (change: Partial<Draft>) => void;
}) {
  if (isJson) {
    return (
      <JsonEditor
        draft={draft}
        onDone={(next) => {
          onChange(next);
          onJson(false);
        }}
        onCancel={() => onJson(false)}
      />
    );
  }
  const rows = { draft, problems, onChange };
  return (
    <>
      <KeyRows {...rows} />
      <LimitRows {...rows} />
      <UrlRows {...rows} />
      <div className="border-t border-line pt-5">
        <Field
          label="R2 bucket"
          hint="Where images are stored. Empty: the default bucket."
          error={problems.r2_bucket}
          className="max-w-md"
        >
          {(control) => (
            <input
              {...control}
              className="control"
              value={draft.bucket}
              autoComplete="off"
              autoCapitalize="none"
              spellCheck={false}
              onChange={(event) => onChange({ bucket: event.target.value })}
            />
          )}
        </Field>
      </div>
      <Button small onClick={() => onJson(true)}>
        Edit the configuration as JSON
      </Button>
    </>
  );
}

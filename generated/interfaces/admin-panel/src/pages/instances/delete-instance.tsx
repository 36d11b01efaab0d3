// Deleting an instance: says what goes with it, and wants its name typed.
import { useState } from 'react';
import { useNavigate } from 'react-router';
import type { Instance } from '../../api/types';
import { useAnnounce } from '../../components/announcer';
import { ConfirmDialog } from '../../components/dialog';
import { Button, Panel } from '../../components/elements';
import { WORK_IS_DONE } from '../../components/unsaved-guard';
import { plural } from '../../format';
import { useResource } from '../../hooks/use-resource';
import { useSession } from '../../session/session';

function WhatGoes({ instance }: { instance: Instance }) {
  const { value: projects } = useResource(`projects ${instance.instance_id}`, (client, signal) =>
    client.all((query) => client.projects({ ...query, instance_id: instance.instance_id }, signal)),
  );
  const projectCount = projects === null ? 'Its projects' : plural(projects.length, 'project');
  return (
    <>
      <p>
        <strong>{instance.name}</strong> is deleted at once, and cannot be brought back. With it go:
      </p>
      <ul className="list-disc space-y-1 pl-5">
        <li>
          {projectCount}
          {projects !== null && projects.length > 0 && (
            <> ({projects.map(({ name }) => name).join(', ')})</>
          )}{' '}
          and their API keys
        </li>
        {instance.authorized_users.length > 0 && (
          <li>the access of {plural(instance.authorized_users.length, 'person', 'people')}</li>
        )}
        <li>its provider keys, limits and addresses</li>
      </ul>
      <p className="text-muted">What was used stays on record for billing. So do stored images.</p>
    </>
  );
}

export function DeleteInstance({ instance }: { instance: Instance }) {
  const { client } = useSession();
  const navigate = useNavigate();
  const announce = useAnnounce();
  const [isAsking, setAsking] = useState(false);

  return (
    <Panel
      tone="danger"
      title="Delete this instance"
      description="Requests that name it are refused from then on."
      action={
        <Button tone="danger" icon="trash" onClick={() => setAsking(true)}>
          Delete instance
        </Button>
      }
    >
      {isAsking && (
        <ConfirmDialog
          title={`Delete ${instance.name}?`}
          confirmLabel="Delete for good"
          typedName={instance.name}
          onClose={() => setAsking(false)}
          onConfirm={async () => {
            await client.deleteInstance(instance.instance_id);
            announce(`${instance.name} deleted`);
            await navigate('/instances', { state: WORK_IS_DONE });
          }}
        >
          <WhatGoes instance={instance} />
        </ConfirmDialog>
      )}
    </Panel>
  );
}

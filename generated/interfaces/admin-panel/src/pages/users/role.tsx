// The roles, as the panel shows them and lets them be chosen.
import type { Role } from '../../api/types';
import { Badge, type BadgeTone } from '../../components/elements';
import { Field } from '../../components/field';

const TONES: Record<Role, BadgeTone> = { user: 'neutral', admin: 'info', superadmin: 'accent' };

const EXPLANATIONS: Record<Role, string> = {
  user: 'generates images in the instances it has access to',
  admin: 'manages the instances and users of its organisation',
  superadmin: 'manages all organisations',
};

export function RoleBadge({ role }: { role: Role }) {
  return <Badge tone={TONES[role]}>{role}</Badge>;
}

export function RoleField({
  value,
  choices,
  disabledBecause,
  error,
  onChange,
}: {
  value: Role;
  choices: readonly Role[];
  disabledBecause?: string | undefined;
  error: string | undefined;
  onChange: (role: Role) => void;
}) {
  return (
    <Field
      label="Role"
      error={error}
      hint={disabledBecause ?? `A ${value} ${EXPLANATIONS[value]}.`}
    >
      {(control) => (
        <select
          {...control}
          className="control"
          value={value}
          disabled={disabledBecause !== undefined}
          onChange={(event) => {
            const role = choices.find((choice) => choice === event.target.value);
            if (role !== undefined) {
              onChange(role);
            }
          }}
        >
          {choices.map((role) => (
            <option key={role} value={role}>
              {role}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** Only a superadmin makes a superadmin. */
export const rolesFor = (isSuperadmin: boolean): readonly Role[] =>
  isSuperadmin ? ['user', 'admin', 'superadmin'] : ['user', 'admin'];

// For superadmins, who see several organisations: which of them a list shows.
import type { Organization } from '../api/types';
import { useResource } from '../hooks/use-resource';
import { Field } from './field';

/** The organisations within reach: one for an admin. */
export function useOrganizations(): Organization[] {
  const { value } = useResource('organizations', (client, signal) =>
    client.all((query) => client.organizations(query, signal)),
  );
  return value ?? [];
}

export function OrganizationFilter({
  organizations,
  value,
  onChange,
}: {
  organizations: Organization[];
  value: string;
  onChange: (orgId: string) => void;
}) {
  if (organizations.length < 2 && value === '') {
    return null;
  }
  return (
    <Field label="Organisation" className="w-full sm:w-64">
      {(control) => (
        <select
          {...control}
          className="control"
          value={value}
          onChange={(event) => onChange(event.target.value)}
        >
          <option value="">All organisations</option>
          {value !== '' && !organizations.some(({ org_id }) => org_id === value) && (
            <option value={value}>{value}</option>
          )}
          {organizations.map(({ org_id, name }) => (
            <option key={org_id} value={org_id}>
              {name}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

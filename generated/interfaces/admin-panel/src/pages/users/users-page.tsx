// All users within reach.
import { Link } from 'react-router';
import type { User } from '../../api/types';
import { LinkButton } from '../../components/elements';
import { OrganizationFilter, useOrganizations } from '../../components/organization-filter';
import { PageTitle } from '../../components/shell';
import { Empty, Failure, Loading, LoadMore } from '../../components/states';
import { formatDate, plural } from '../../format';
import { useAddress } from '../../hooks/use-address';
import { usePagedList } from '../../hooks/use-paged-list';
import { useSession } from '../../session/session';
import { RoleBadge } from './role';

const REACH: Record<User['role'], (user: User) => string> = {
  user: ({ instances }) =>
    instances.length === 0 ? 'no instance' : plural(instances.length, 'instance'),
  admin: () => 'its organisation',
  superadmin: () => 'everything',
};

function UserRow({
  user,
  isSelf,
  orgName,
}: {
  user: User;
  isSelf: boolean;
  /** Null where there is one organisation only, which then needs no column. */
  orgName: string | null;
}) {
  return (
    <tr className="relative hover:bg-sunken/60 max-sm:grid max-sm:grid-cols-[1fr_auto] max-sm:gap-x-3 max-sm:gap-y-1 max-sm:p-4">
      <th
        scope="row"
        className="text-left font-medium break-all max-sm:col-start-1 sm:px-5 sm:py-3.5"
      >
        <Link
          to={`/users/id/${user.user_id}`}
          className="after:absolute after:inset-0 focus-visible:outline-none focus-visible:after:rounded-lg focus-visible:after:outline-2 focus-visible:after:outline-accent"
        >
          {user.email}
        </Link>
        {isSelf && <span className="ml-2 text-sm font-normal text-muted">you</span>}
      </th>
      <td className="max-sm:col-start-2 max-sm:row-start-1 sm:px-5">
        <RoleBadge role={user.role} />
      </td>
      <td className="text-sm whitespace-nowrap text-muted sm:px-5">{REACH[user.role](user)}</td>
      {orgName !== null && <td className="text-sm text-muted max-lg:hidden sm:px-5">{orgName}</td>}
      <td className="text-sm whitespace-nowrap text-muted max-md:hidden sm:px-5">
        {formatDate(user.created_at)}
      </td>
    </tr>
  );
}

const ORGANIZATION_COLUMN = 'Organisation';
const COLUMNS = [
  ['E-mail', ''],
  ['Role', ''],
  ['Access to', ''],
  [ORGANIZATION_COLUMN, 'max-lg:hidden'],
  ['Created', 'max-md:hidden'],
] as const;

export function UsersPage() {
  const { me } = useSession();
  const { get, change } = useAddress();
  const orgId = get('org');
  const organizations = useOrganizations();
  const list = usePagedList(`users ${orgId}`, (client, cursor, signal) =>
    client.users({ org_id: orgId, cursor }, signal),
  );
  const hasSeveral = organizations.length > 1;
  const columns = COLUMNS.filter(([name]) => hasSeveral || name !== ORGANIZATION_COLUMN);
  const nameOf = (id: string) => organizations.find(({ org_id }) => org_id === id)?.name ?? id;

  return (
    <>
      <PageTitle
        title="Users"
        subtitle="Who may log in and generate, with which role and where."
        action={
          <LinkButton to="/users/new" tone="primary" icon="plus">
            New user
          </LinkButton>
        }
      />
      <div className="mb-5 empty:hidden">
        <OrganizationFilter
          organizations={organizations}
          value={orgId}
          onChange={(value) => change({ org: value })}
        />
      </div>
      {list.failure !== null && <Failure failure={list.failure} onRetry={list.reload} />}
      {list.items === null && list.isLoading && <Loading label="Loading users" />}
      {list.items?.length === 0 && (
        <Empty
          icon="users"
          title="No user here"
          action={
            <LinkButton to="/users/new" icon="plus">
              Create one
            </LinkButton>
          }
        />
      )}
      {list.items !== null && list.items.length > 0 && (
        <>
          <div className="overflow-hidden rounded-xl border border-line bg-surface shadow-card">
            <table className="w-full max-sm:block">
              <caption className="sr-only">Users</caption>
              <thead className="border-b border-line bg-sunken/60 text-left text-xs text-muted max-sm:sr-only">
                <tr>
                  {columns.map(([name, visibility]) => (
                    <th key={name} scope="col" className={`px-5 py-2.5 font-medium ${visibility}`}>
                      {name}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody className="divide-y divide-line max-sm:block">
                {list.items.map((user) => (
                  <UserRow
                    key={user.user_id}
                    user={user}
                    isSelf={user.user_id === me.user_id}
                    orgName={hasSeveral ? nameOf(user.org_id) : null}
                  />
                ))}
              </tbody>
            </table>
          </div>
          <LoadMore
            shown={list.items.length}
            noun={list.items.length === 1 ? 'user' : 'users'}
            hasMore={list.hasMore}
            isLoading={list.isLoadingMore}
            failure={list.moreFailure}
            onMore={list.more}
          />
        </>
      )}
    </>
  );
}

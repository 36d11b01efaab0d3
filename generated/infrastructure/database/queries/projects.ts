// Projects.
import { parseJsonObject } from '../json';
import { type Condition, listPage, type Page, type PageRequest } from '../pagination';
import type { JsonObject, Project, Timestamp } from '../types';

type ProjectRow = Omit<Project, 'settings'> & { settings: string };

const SELECT = `SELECT projects.project_id, projects.instance_id, instances.org_id, projects.name, projects.settings,
  projects.created_at, projects.updated_at
  FROM projects JOIN instances ON instances.instance_id = projects.instance_id`;

function toProject(row: ProjectRow): Project {
  return { ...row, settings: parseJsonObject(row.settings) };
}

export async function getProjectById(
  database: D1Database,
  projectId: string,
): Promise<Project | null> {
  const row = await database
    .prepare(`${SELECT} WHERE projects.project_id = ?`)
    .bind(projectId)
    .first<ProjectRow>();
  return row === null ? null : toProject(row);
}

export interface ProjectFilter {
  instanceId?: string | undefined;
  projectId?: string | undefined;
  orgId?: string | undefined;
  /** Only projects of instances that this user has been given access to. */
  accessibleTo?: string | undefined;
}

export async function listProjects(
  database: D1Database,
  page: PageRequest,
  filter: ProjectFilter = {},
): Promise<Page<Project>> {
  const conditions: Condition[] = [];
  if (filter.instanceId !== undefined) {
    conditions.push({ sql: 'projects.instance_id = ?', values: [filter.instanceId] });
  }
  if (filter.projectId !== undefined) {
    conditions.push({ sql: 'projects.project_id = ?', values: [filter.projectId] });
  }
  if (filter.orgId !== undefined) {
    conditions.push({ sql: 'instances.org_id = ?', values: [filter.orgId] });
  }
  if (filter.accessibleTo !== undefined) {
    conditions.push({
      sql: 'projects.instance_id IN (SELECT instance_id FROM user_instance_access WHERE user_id = ?)',
      values: [filter.accessibleTo],
    });
  }
  return await listPage<ProjectRow, Project>(database, {
    select: SELECT,
    createdAtColumn: 'projects.created_at',
    idColumn: 'projects.project_id',
    conditions,
    page,
    toItem: toProject,
    positionOf: (item) => ({ created_at: item.created_at, id: item.project_id }),
  });
}

export interface NewProject {
  project_id: string;
  instance_id: string;
  name: string;
  settings: JsonObject;
  created_at: Timestamp;
}

/** Fails with a unique violation if the id, or the name within the instance, is taken. */
export async function insertProject(database: D1Database, project: NewProject): Promise<void> {
  await database
    .prepare(
      `INSERT INTO projects (project_id, instance_id, name, settings, created_at, updated_at)
       VALUES (?, ?, ?, ?, ?, ?)`,
    )
    .bind(
      project.project_id,
      project.instance_id,
      project.name,
      JSON.stringify(project.settings),
      project.created_at,
      project.created_at,
    )
    .run();
}

/** Writes what is given and keeps the rest. False if unknown; a unique violation if the name is taken. */
export async function updateProject(
  database: D1Database,
  projectId: string,
  change: {
    name?: string | undefined;
    settings?: JsonObject | undefined;
    updated_at: Timestamp;
  },
): Promise<boolean> {
  const { meta } = await database
    .prepare(
      `UPDATE projects SET name = coalesce(?, name), settings = coalesce(?, settings), updated_at = ?
       WHERE project_id = ?`,
    )
    .bind(
      change.name ?? null,
      change.settings === undefined ? null : JSON.stringify(change.settings),
      change.updated_at,
      projectId,
    )
    .run();
  return meta.changes > 0;
}

/** Deletes the project with its keys; its usage stays. False if unknown. */
export async function deleteProject(database: D1Database, projectId: string): Promise<boolean> {
  const { meta } = await database
    .prepare('DELETE FROM projects WHERE project_id = ?')
    .bind(projectId)
    .run();
  return meta.changes > 0;
}

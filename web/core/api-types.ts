/**
 * What the HTTP interface takes and answers, as the wire contract writes it. `npm run types` generates the same from
 * the server's OpenAPI document into `schema.d.ts`; only this file would then re-export its shapes.
 */

export type Role = "owner" | "edit" | "view";
export type GrantedRole = "edit" | "view";
export type SharingMode = "private" | "view" | "edit";

export interface Me {
  id: string;
  name: string;
  org_id: string;
  tier: string;
}

export type SandboxStatus =
  | "provisioning"
  | "warm"
  | "assigned"
  | "running"
  | "idle"
  | "suspending"
  | "suspended"
  | "terminated"
  | "failed";

export interface Sandbox {
  id: string;
  workspace_id: string;
  user_id: string;
  status: SandboxStatus;
  reason: string | null;
  instance_type: string;
  isolation: string;
  ip_address: string | null;
  created_at: string;
  last_activity_at: string;
  expires_at: string | null;
  usage: { cpu_seconds: number; memory_bytes: number; disk_bytes: number };
}

export interface Workspace {
  id: string;
  owner_id: string;
  name: string;
  template: string;
  sharing_mode: SharingMode;
  role: Role;
  created_at: string;
  updated_at: string;
  sandbox: Sandbox | null;
}

export interface FileEntry {
  id: string;
  workspace_id: string;
  path: string;
  is_directory: boolean;
  symlink_target: string | null;
  size: number;
  executable: boolean;
  etag: string;
  created_at: string;
  updated_at: string;
}

export interface WorkspaceWithFiles extends Workspace {
  files: FileEntry[];
}

export interface FileContent extends FileEntry {
  content: string | null;
  encoding: "utf-8" | "base64" | null;
  content_ref?: string | null;
}

export interface Member {
  user_id: string;
  name: string;
  role: Role;
}

export interface ShareLink {
  id: string;
  url: string;
  role: GrantedRole;
  expires_at: string | null;
}

export type ProcessStatus = "pending" | "running" | "completed" | "failed" | "cancelled";

export interface Process {
  id: string;
  workspace_id: string;
  sandbox_id: string;
  command: string | string[];
  pty: boolean;
  status: ProcessStatus;
  exit_code: number | null;
  signal: string | null;
  reason: string | null;
  started_at: string | null;
  finished_at: string | null;
}

export interface RunRequest {
  command: string | string[];
  pty?: boolean;
  cols?: number;
  rows?: number;
  env?: Record<string, string>;
  cwd?: string;
}

export interface RunAnswer {
  process_id: string;
  sandbox_id: string;
  stream_token: string;
}

export interface StreamToken {
  stream_token: string;
  expires_at: string;
}

export interface Template {
  name: string;
  description: string;
  run_command: string;
  generated_folders: string[];
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

/** An error's body, RFC 9457. */
export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  request_id: string;
}

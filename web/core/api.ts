/** The HTTP interface as typed calls. Paths and bodies are the contract's; nothing here knows a browser. */

import type {
  ContentChange,
  FileContent,
  FileEntry,
  GrantedRole,
  Me,
  Member,
  Membership,
  Move,
  NewFile,
  NewLink,
  NewWorkspace,
  Process,
  RunAnswer,
  RunRequest,
  Sandbox,
  SandboxWithToken,
  ShareLink,
  StreamToken,
  Template,
  Workspace,
  WorkspaceChange,
  WorkspaceWithFiles,
} from "./api-types.ts";
import { problemFrom, Unreachable } from "./problem.ts";

/** What a call needs of the world: one exchange. It rejects only when no answer came. */
export type Transport = (request: TransportRequest) => Promise<TransportAnswer>;

export interface TransportRequest {
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  headers: Record<string, string>;
  body: string | Uint8Array | null;
}

export interface TransportAnswer {
  status: number;
  header(name: string): string | null;
  text(): Promise<string>;
}

/** So many answers are kept to be asked for again; the pages of a list that has changed are asked for by other paths. */
const KEPT = 100;

/** The most entries one page may hold. */
const PAGE_LIMIT = 1000;

interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

interface CallOptions {
  json?: unknown;
  ifMatch?: string | undefined;
  ifNoneMatch?: string | undefined;
  idempotencyKey?: string | undefined;
}

interface Answer {
  status: number;
  etag: string | null;
  text: string;
}

/** An answer that is asked for again and again, as it was last. */
interface Kept {
  etag: string;
  value: unknown;
}

/** Every call the page makes. */
export class Api {
  readonly #transport: Transport;
  /** Of the one workspace that is looked at, by path: a server that has nothing newer says just that. */
  readonly #kept = new Map<string, Kept>();
  #keptOf = "";

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  me(): Promise<Me> {
    return this.#json("GET", "/api/me");
  }

  templates(): Promise<Template[]> {
    return this.#all("/api/templates");
  }

  workspaces(): Promise<Workspace[]> {
    return this.#all("/api/workspaces");
  }

  workspace(id: string): Promise<WorkspaceWithFiles> {
    return this.#again(id, `/api/workspaces/${id}`);
  }

  createWorkspace(name: string, template: string, idempotencyKey: string): Promise<Workspace> {
    return this.#json("POST", "/api/workspaces", { json: { name, template } satisfies NewWorkspace, idempotencyKey });
  }

  updateWorkspace(id: string, change: WorkspaceChange): Promise<Workspace> {
    return this.#json("PUT", `/api/workspaces/${id}`, { json: change });
  }

  deleteWorkspace(id: string): Promise<void> {
    return this.#none("DELETE", `/api/workspaces/${id}`);
  }

  members(workspace: string): Promise<Member[]> {
    return this.#all(`/api/workspaces/${workspace}/members`);
  }

  async setMember(workspace: string, user: string, role: GrantedRole): Promise<void> {
    await this.#call("PUT", `/api/workspaces/${workspace}/members/${encodeURIComponent(user)}`, {
      json: { role } satisfies Membership,
    });
  }

  removeMember(workspace: string, user: string): Promise<void> {
    return this.#none("DELETE", `/api/workspaces/${workspace}/members/${encodeURIComponent(user)}`);
  }

  links(workspace: string): Promise<ShareLink[]> {
    return this.#all(`/api/workspaces/${workspace}/links`);
  }

  createLink(
    workspace: string,
    role: GrantedRole,
    ttlSeconds: number | null,
    idempotencyKey: string,
  ): Promise<ShareLink> {
    const json = { role, ttl_seconds: ttlSeconds } satisfies NewLink;
    return this.#json("POST", `/api/workspaces/${workspace}/links`, { json, idempotencyKey });
  }

  deleteLink(workspace: string, link: string): Promise<void> {
    return this.#none("DELETE", `/api/workspaces/${workspace}/links/${link}`);
  }

  files(workspace: string): Promise<FileEntry[]> {
    return this.#all(`/api/workspaces/${workspace}/files`, (path) => this.#again(workspace, path));
  }

  createFile(workspace: string, path: string, isDirectory: boolean, content = ""): Promise<FileEntry> {
    const json: NewFile = isDirectory ? { path, is_directory: true } : { path, content };
    return this.#json("POST", `/api/workspaces/${workspace}/files`, { json });
  }

  file(id: string): Promise<FileContent> {
    return this.#json("GET", `/api/files/${id}`);
  }

  saveFile(id: string, content: string, etag: string | null): Promise<FileEntry> {
    return this.#json("PUT", `/api/files/${id}`, {
      json: { content } satisfies ContentChange,
      ifMatch: etag ?? undefined,
    });
  }

  moveFile(id: string, path: string): Promise<FileEntry> {
    return this.#json("POST", `/api/files/${id}/move`, { json: { path } satisfies Move });
  }

  deleteFile(id: string): Promise<void> {
    return this.#none("DELETE", `/api/files/${id}`);
  }

  run(workspace: string, request: RunRequest, idempotencyKey: string): Promise<RunAnswer> {
    return this.#json("POST", `/api/workspaces/${workspace}/run`, { json: request, idempotencyKey });
  }

  processes(workspace: string): Promise<Process[]> {
    return this.#all(`/api/workspaces/${workspace}/processes`);
  }

  process(id: string): Promise<Process> {
    return this.#json("GET", `/api/processes/${id}`);
  }

  cancel(process: string): Promise<void> {
    return this.#none("POST", `/api/processes/${process}/cancel`);
  }

  /** The workspace's sandbox, made when there is none. */
  startSandbox(workspace: string): Promise<SandboxWithToken> {
    return this.#json("POST", `/api/workspaces/${workspace}/sandbox`, { json: {} });
  }

  sandbox(id: string): Promise<Sandbox> {
    return this.#json("GET", `/api/sandboxes/${id}/status`);
  }

  suspendSandbox(id: string): Promise<void> {
    return this.#none("POST", `/api/sandboxes/${id}/suspend`);
  }

  resumeSandbox(id: string): Promise<void> {
    return this.#none("POST", `/api/sandboxes/${id}/resume`);
  }

  endSandbox(id: string): Promise<void> {
    return this.#none("DELETE", `/api/sandboxes/${id}`);
  }

  streamToken(sandbox: string): Promise<StreamToken> {
    return this.#json("POST", `/api/sandboxes/${sandbox}/token`);
  }

  /** Every page of a list. */
  async #all<T>(
    path: string,
    get: (path: string) => Promise<Page<T>> = (each) => this.#json("GET", each),
  ): Promise<T[]> {
    const items: T[] = [];
    let cursor: string | null = null;
    do {
      const after: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
      const page: Page<T> = await get(`${path}?limit=${PAGE_LIMIT}${after}`);
      items.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor !== null);
    return items;
  }

  /** What may have been asked for before: the very same object when it is still so. */
  async #again<T>(workspace: string, path: string): Promise<T> {
    if (this.#keptOf !== workspace) this.#kept.clear();
    this.#keptOf = workspace;
    const before = this.#kept.get(path);
    const { status, etag, text } = await this.#call("GET", path, { ifNoneMatch: before?.etag });
    if (status === 304 && before !== undefined) return before.value as T;
    const value = JSON.parse(text) as T;
    if (this.#keptOf === workspace) {
      if (this.#kept.size >= KEPT) this.#kept.clear();
      if (etag === null) this.#kept.delete(path);
      else this.#kept.set(path, { etag, value });
    }
    return value;
  }

  async #json<T>(method: TransportRequest["method"], path: string, options: CallOptions = {}): Promise<T> {
    return JSON.parse((await this.#call(method, path, options)).text) as T;
  }

  async #none(method: TransportRequest["method"], path: string): Promise<void> {
    await this.#call(method, path, {});
  }

  async #call(method: TransportRequest["method"], path: string, options: CallOptions): Promise<Answer> {
    const headers: Record<string, string> = { accept: "application/json" };
    if (options.json !== undefined) headers["content-type"] = "application/json";
    if (options.ifMatch !== undefined) headers["if-match"] = `"${options.ifMatch}"`;
    if (options.ifNoneMatch !== undefined) headers["if-none-match"] = options.ifNoneMatch;
    if (options.idempotencyKey !== undefined) headers["idempotency-key"] = options.idempotencyKey;
    const body = options.json === undefined ? null : JSON.stringify(options.json);
    let answer: TransportAnswer;
    let text: string;
    try {
      answer = await this.#transport({ method, path, headers, body });
      text = await answer.text();
    } catch {
      throw new Unreachable();
    }
    if (answer.status >= 400) throw problemFrom(answer.status, text, answer.header("retry-after"));
    return { status: answer.status, etag: answer.header("etag"), text };
  }
}

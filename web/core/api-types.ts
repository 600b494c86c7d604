/** The names by which the page calls the contract's shapes; `npm run types` makes them from the server's document. */

import type { components } from "./schema.d.ts";

type Schemas = components["schemas"];

export type Role = Schemas["Role"];
export type GrantedRole = Schemas["GrantedRole"];
export type SharingMode = Schemas["SharingMode"];
export type Me = Schemas["Me"];
export type SandboxStatus = Schemas["SandboxStatus"];
export type Sandbox = Schemas["Sandbox"];
export type Workspace = Schemas["Workspace"];
export type FileEntry = Schemas["File"];
export type WorkspaceWithFiles = Schemas["WorkspaceWithFiles"];
export type FileContent = Schemas["FileWithContent"];
export type Member = Schemas["Member"];
export type ShareLink = Schemas["Link"];
export type ProcessStatus = Schemas["ProcessStatus"];
export type Process = Schemas["Process"];
export type NewWorkspace = Schemas["NewWorkspace"];
export type WorkspaceChange = Schemas["WorkspaceChange"];
export type Membership = Schemas["Membership"];
export type NewLink = Schemas["NewLink"];
export type NewFile = Schemas["NewFileBody"];
export type ContentChange = Schemas["ContentBody"];
export type Move = Schemas["MoveBody"];
export type RunRequest = Schemas["RunBody"];
export type RunAnswer = Schemas["Ran"];
export type StreamToken = Schemas["StreamToken"];
export type SandboxWithToken = Schemas["SandboxWithToken"];
export type Template = Schemas["Template"];
export type ProblemBody = Schemas["Problem"];

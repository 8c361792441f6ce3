/** Status of a backup export, without state and conditions. */
export interface BackupExportStatus {
  phase?: 'waiting' | 'converting' | 'done' | 'failed';
  /** While it is made, what it is made of; when it is done, what may be read. */
  files?: readonly ExportedFile[];
}

export interface ExportedFile {
  readonly name: string;
  readonly sha256: string;
  readonly fileBytes: number;
}

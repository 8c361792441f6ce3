/** A disk image by its content. */
export interface Artifact {
  readonly sha256: string;
  /** What it was inspected as; its content never chooses the format again. */
  readonly format: 'qcow2' | 'raw';
  /** What a guest sees. */
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
}

/** A file that is kept for whoever takes it elsewhere. */
export interface KeptFile {
  readonly sha256: string;
  readonly format: 'export';
  readonly fileBytes: number;
}

/** A release of the agent by its content; what it says of itself. */
export interface ReleaseArtifact {
  readonly sha256: string;
  readonly fileBytes: number;
  readonly version: string;
  readonly architecture: 'amd64' | 'arm64';
}

export interface ImageLimits {
  readonly maxImageBytes: number;
  readonly maxVirtualBytes: number;
}

import type { Facet, Handle } from '../observation.js';

/** A whole disk kept as one file at a site: servers start from it, and it goes in and out by its bytes. */
export interface ImageRealizationSpec {
  readonly name: string;
  readonly format: 'raw' | 'qcow2';
  readonly architecture: 'amd64' | 'arm64';
  readonly firmware: 'BIOS' | 'UEFI';
  /** Bytes that a disk made of it has at least. */
  readonly diskBytes: number;
  /** `content`: waits for `write`. `instance`: the boot disk of an instance there, as it is when the site takes it. */
  readonly source: { readonly type: 'content' } | { readonly type: 'instance'; readonly instance: Handle };
}

export interface ImageRealizationStatus {
  /** `awaiting`: has no content, and nobody is giving it any. */
  readonly state: 'awaiting' | 'saving' | 'ready' | 'failed';
  /** Of the file; absent before it is ready. */
  readonly bytes?: number;
  readonly format?: string;
  /** As the site computed it over the whole file. */
  readonly digest?: { readonly algorithm: string; readonly value: string };
}

export interface ImagesFacet extends Facet<ImageRealizationSpec, ImageRealizationStatus> {
  /**
   * Gives an image its content, from the first byte to the last, and compares the digest of what was given with what the site says it has.
   * Silent when it has that content already. Raises `conflict` when it has another one; `unknown-outcome` when the connection broke: `observe`
   * says whether it is `awaiting` again.
   */
  write(handle: Handle, content: ImageContent, signal?: AbortSignal): Promise<void>;
  /**
   * The bytes from `start` (default: 0) to the end, however often the connection breaks. Read from 0 they are compared with the site's digest:
   * raises `conflict` after the last byte when they differ.
   */
  read(handle: Handle, options?: { readonly start?: number; readonly signal?: AbortSignal }): AsyncIterable<Uint8Array>;
}

export interface ImageContent {
  readonly bytes: number;
  /** Hex. */
  readonly sha512: string;
  open(): AsyncIterable<Uint8Array>;
}

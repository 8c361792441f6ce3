/** The answers that are read, and of them only what is used. */

export interface Server {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly created?: string;
  readonly updated?: string;
  readonly 'OS-EXT-STS:task_state'?: string | null;
  readonly 'OS-EXT-STS:vm_state'?: string | null;
  readonly 'OS-EXT-STS:power_state'?: number;
  readonly 'OS-SRV-USG:launched_at'?: string | null;
  readonly fault?: { readonly code?: number; readonly message?: string };
  /** Since 2.47 as it was when the server was made, before by its id. */
  readonly flavor: { readonly id?: string; readonly vcpus?: number; readonly ram?: number; readonly disk?: number };
  readonly 'os-extended-volumes:volumes_attached'?: readonly { readonly id: string }[];
}

export interface Flavor {
  readonly id: string;
  readonly name: string;
  readonly vcpus: number;
  /** MiB. */
  readonly ram: number;
  /** GiB; 0: none of its own. */
  readonly disk: number;
  readonly 'OS-FLV-DISABLED:disabled'?: boolean;
}

export interface Image {
  readonly id: string;
  readonly name: string | null;
  readonly status: string;
  readonly size: number | null;
  readonly disk_format: string | null;
  readonly min_disk?: number;
  readonly virtual_size?: number | null;
  readonly os_hash_algo?: string | null;
  readonly os_hash_value?: string | null;
  readonly hw_firmware_type?: string;
  readonly hw_architecture?: string;
  readonly virt8ra_key?: string;
  readonly [property: string]: unknown;
}

export interface Network {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly mtu?: number;
}

export interface Subnet {
  readonly id: string;
  readonly cidr: string;
  readonly gateway_ip: string | null;
  readonly ip_version: 4 | 6;
}

export interface Port {
  readonly id: string;
  readonly name: string;
  readonly description?: string;
  readonly mac_address: string;
  readonly network_id: string;
}

export interface Volume {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  /** GiB. */
  readonly size: number;
  readonly metadata: Readonly<Record<string, string>>;
}

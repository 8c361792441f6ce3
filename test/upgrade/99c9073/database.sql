SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA access;
CREATE SCHEMA control;
CREATE SCHEMA engine;
CREATE SCHEMA fleet;
CREATE FUNCTION public.count_workspace_load() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  insert into workspace_load as load (tenant, workspace, part, held)
  select tenant, workspace, pg_backend_pid() % 16, case tg_op when 'INSERT' then count(*) else -count(*) end
    from changed where workspace is not null group by tenant, workspace order by tenant, workspace
  on conflict (tenant, workspace, part) do update set held = load.held + excluded.held;
  -- What is made in a workspace holds its row, so that nothing is being made in one that goes.
  if tg_op = 'DELETE' then
    delete from workspace_load using changed
     where changed.kind = 'workspace' and workspace_load.tenant = changed.tenant and workspace_load.workspace = changed.name
       and (select sum(each.held) from workspace_load as each where each.tenant = changed.tenant and each.workspace = changed.name) = 0;
  end if;
  return null;
end
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE access.endpoint (
    listen_port integer NOT NULL,
    instance text,
    port integer,
    freed_at timestamp with time zone,
    CONSTRAINT endpoint_check CHECK (((instance IS NULL) = (port IS NULL))),
    CONSTRAINT endpoint_check1 CHECK (((instance IS NULL) = (freed_at IS NOT NULL))),
    CONSTRAINT endpoint_listen_port_check CHECK (((listen_port >= 1) AND (listen_port <= 65535))),
    CONSTRAINT endpoint_port_check CHECK (((port >= 1) AND (port <= 65535)))
);
CREATE TABLE control.migration (
    area text NOT NULL,
    name text NOT NULL,
    "position" integer NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE control.plane (
    singleton boolean DEFAULT true NOT NULL,
    epoch text NOT NULL,
    epoch_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT plane_singleton_check CHECK (singleton)
);
CREATE SEQUENCE engine.fence
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE engine.journal (
    run_id text NOT NULL,
    "position" integer NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    error text,
    begun_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    begun_fence bigint NOT NULL,
    ended_at timestamp with time zone,
    ended_fence bigint,
    result json,
    undo_attempts integer DEFAULT 0 NOT NULL,
    undo_failures integer DEFAULT 0 NOT NULL,
    undone_at timestamp with time zone,
    undone_fence bigint,
    CONSTRAINT journal_kind_check CHECK ((kind = ANY (ARRAY['step'::text, 'wait'::text, 'commit'::text])))
);
CREATE VIEW engine.journal_overview AS
 SELECT journal.run_id,
    journal."position",
    journal.name,
    journal.kind,
    journal.attempts,
    journal.failures,
    journal.error,
    journal.begun_at,
    journal.ended_at,
    EXTRACT(epoch FROM (journal.ended_at - journal.begun_at)) AS seconds,
    journal.undo_attempts,
    journal.undo_failures,
    journal.undone_at
   FROM engine.journal;
CREATE TABLE engine.lease (
    name text NOT NULL,
    owner text NOT NULL,
    fence bigint NOT NULL,
    lease_until timestamp with time zone NOT NULL
);
CREATE TABLE engine.run (
    id text NOT NULL,
    workflow text NOT NULL,
    version integer NOT NULL,
    subject text NOT NULL,
    lane text NOT NULL,
    idempotency_key text,
    state text DEFAULT 'running'::text NOT NULL,
    input json,
    output json,
    problem json,
    stuck json,
    cancel_reason text,
    commit_point text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT run_state_check CHECK ((state = ANY (ARRAY['running'::text, 'waiting'::text, 'undoing'::text, 'done'::text, 'undone'::text, 'stuck'::text])))
);
CREATE TABLE engine.work (
    key text NOT NULL,
    kind text GENERATED ALWAYS AS (split_part(key, '/'::text, 1)) STORED NOT NULL,
    lane text DEFAULT ''::text NOT NULL,
    due_at timestamp with time zone,
    again_at timestamp with time zone,
    leased_by text,
    fence bigint,
    attempts integer DEFAULT 0 NOT NULL,
    outcome text,
    reason text,
    worked_at timestamp with time zone,
    worked_seconds double precision
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');
CREATE VIEW engine.run_overview AS
 SELECT run.id,
    run.workflow,
    run.version,
    run.subject,
    run.lane,
    run.state,
    step.name AS step,
    step.kind AS step_kind,
    step.attempts AS step_attempts,
    step.error AS step_error,
    run.commit_point,
    run.cancel_reason,
    COALESCE((run.stuck ->> 'message'::text), (run.problem ->> 'message'::text)) AS problem,
    work.leased_by,
        CASE
            WHEN (work.leased_by IS NOT NULL) THEN work.due_at
            ELSE NULL::timestamp with time zone
        END AS lease_until,
        CASE
            WHEN (work.leased_by IS NULL) THEN work.due_at
            ELSE NULL::timestamp with time zone
        END AS next_due,
    run.created_at,
    run.changed_at,
    run.ended_at
   FROM ((engine.run
     LEFT JOIN engine.work ON ((work.key = ('run/'::text || run.id))))
     LEFT JOIN LATERAL ( SELECT journal.name,
            journal.kind,
            journal.attempts,
            journal.error
           FROM engine.journal
          WHERE (journal.run_id = run.id)
          ORDER BY journal."position" DESC
         LIMIT 1) step ON (true));
CREATE VIEW engine.work_overview AS
 SELECT work.key,
    work.kind,
    work.lane,
    work.outcome,
    work.reason,
    work.attempts,
        CASE
            WHEN (work.leased_by IS NULL) THEN work.due_at
            ELSE NULL::timestamp with time zone
        END AS due_at,
    work.leased_by,
        CASE
            WHEN (work.leased_by IS NOT NULL) THEN work.due_at
            ELSE NULL::timestamp with time zone
        END AS lease_until,
    (work.again_at IS NOT NULL) AS nudged,
    work.worked_at,
    work.worked_seconds
   FROM engine.work;
CREATE TABLE fleet.authority (
    id integer DEFAULT 1 NOT NULL,
    sha256 text NOT NULL,
    CONSTRAINT authority_id_check CHECK ((id = 1))
);
CREATE TABLE fleet.certificate (
    fingerprint text NOT NULL,
    host text NOT NULL,
    public_key bytea NOT NULL,
    issued_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone
);
CREATE TABLE fleet.desired (
    host text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    object jsonb,
    generation bigint NOT NULL,
    removed_generation bigint,
    CONSTRAINT desired_check CHECK (((object IS NULL) = (removed_generation IS NOT NULL))),
    CONSTRAINT desired_type_check CHECK ((type = ANY (ARRAY['network'::text, 'volume'::text, 'instance'::text, 'transfer'::text, 'filter'::text, 'backup'::text, 'snapshot'::text])))
);
CREATE TABLE fleet.enrolment_token (
    hash bytea NOT NULL,
    host text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_by bytea,
    certificate text
);
CREATE TABLE fleet.host (
    host text NOT NULL,
    site text NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    added_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    maintenance boolean DEFAULT false NOT NULL,
    agent_release jsonb
);
CREATE TABLE fleet.link (
    host text NOT NULL,
    link_id text,
    linked_by text,
    linked_at timestamp with time zone,
    certificate text,
    heard_at timestamp with time zone,
    silent boolean DEFAULT true NOT NULL,
    full_epoch text,
    full_generation bigint DEFAULT 0 NOT NULL,
    reported_at timestamp with time zone,
    agent_version text,
    boot_id text,
    inventory jsonb,
    inventory_at timestamp with time zone,
    features jsonb DEFAULT '[]'::jsonb NOT NULL,
    clock_offset_seconds double precision
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE fleet.observed (
    host text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    object jsonb NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    generation bigint NOT NULL
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE fleet."overlay" (
    host text NOT NULL,
    address text,
    rotation integer DEFAULT 0 NOT NULL,
    desired jsonb,
    report jsonb,
    reported_at timestamp with time zone
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE fleet.overlay_changed (
    id bigint NOT NULL,
    host text NOT NULL
);
ALTER TABLE fleet.overlay_changed ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fleet.overlay_changed_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE fleet.path_sample (
    id text NOT NULL,
    from_host text NOT NULL,
    to_host text NOT NULL,
    at timestamp with time zone NOT NULL,
    source text NOT NULL,
    state text NOT NULL,
    bytes bigint,
    seconds double precision,
    rtt_ms double precision,
    reason text,
    CONSTRAINT path_sample_source_check CHECK ((source = ANY (ARRAY['transfer'::text, 'probe'::text]))),
    CONSTRAINT path_sample_state_check CHECK ((state = ANY (ARRAY['asked'::text, 'listening'::text, 'busy'::text, 'measured'::text, 'failed'::text])))
);
CREATE TABLE public.audit (
    id text NOT NULL,
    at timestamp with time zone NOT NULL,
    subject text NOT NULL,
    remote text NOT NULL,
    verb text NOT NULL,
    resource text NOT NULL,
    code integer NOT NULL,
    before text,
    after text,
    reason text,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    seq bigint NOT NULL
);
ALTER TABLE public.audit ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.claim (
    resource_uid text NOT NULL,
    role text NOT NULL,
    site text NOT NULL,
    host text NOT NULL,
    vcpu integer NOT NULL,
    memory_mib integer NOT NULL,
    storage_bytes bigint NOT NULL,
    dedicated_cpu integer DEFAULT 0 NOT NULL,
    huge_2mi integer DEFAULT 0 NOT NULL,
    huge_1gi integer DEFAULT 0 NOT NULL,
    devices jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT claim_dedicated_cpu_check CHECK ((dedicated_cpu >= 0)),
    CONSTRAINT claim_huge_1gi_check CHECK ((huge_1gi >= 0)),
    CONSTRAINT claim_huge_2mi_check CHECK ((huge_2mi >= 0)),
    CONSTRAINT claim_memory_mib_check CHECK ((memory_mib >= 0)),
    CONSTRAINT claim_role_check CHECK ((role = ANY (ARRAY['primary'::text, 'incoming'::text]))),
    CONSTRAINT claim_storage_bytes_check CHECK ((storage_bytes >= 0)),
    CONSTRAINT claim_vcpu_check CHECK ((vcpu >= 0))
);
CREATE TABLE public.drain_move (
    migration_uid text NOT NULL,
    run text NOT NULL,
    instance_uid text NOT NULL,
    mode text NOT NULL,
    outcome text,
    problem text
);
CREATE SEQUENCE public.feed_position
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE public.feed (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    seq bigint DEFAULT nextval('public.feed_position'::regclass) NOT NULL,
    type text NOT NULL,
    kind text NOT NULL,
    uid text NOT NULL,
    ref text NOT NULL,
    tenant text,
    labels jsonb NOT NULL,
    left_labels jsonb,
    body jsonb
);
CREATE TABLE public.feed_floor (
    single boolean DEFAULT true NOT NULL,
    xid xid8 NOT NULL,
    seq bigint NOT NULL,
    CONSTRAINT feed_floor_single_check CHECK (single)
);
CREATE TABLE public.host_sample (
    host text NOT NULL,
    at timestamp with time zone NOT NULL,
    body jsonb NOT NULL,
    guests jsonb NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE public.instance_power (
    instance_uid text NOT NULL,
    power text NOT NULL,
    restarts integer DEFAULT 0 NOT NULL,
    CONSTRAINT instance_power_power_check CHECK ((power = ANY (ARRAY['on'::text, 'off'::text])))
);
CREATE SEQUENCE public.network_vni_number
    AS integer
    START WITH 4097
    INCREMENT BY 1
    MINVALUE 4097
    MAXVALUE 16777215
    CACHE 1;
CREATE TABLE public.network_vni (
    resource_uid text NOT NULL COLLATE pg_catalog."C",
    vni integer DEFAULT nextval('public.network_vni_number'::regclass) NOT NULL
);
CREATE TABLE public.nic_address (
    subnet_uid text NOT NULL COLLATE pg_catalog."C",
    address inet NOT NULL,
    nic text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.nic_free_range (
    subnet_uid text NOT NULL COLLATE pg_catalog."C",
    first inet NOT NULL,
    last inet NOT NULL
);
CREATE TABLE public.nic_mac (
    nic text NOT NULL COLLATE pg_catalog."C",
    mac text NOT NULL
);
CREATE TABLE public.preset (
    kind text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    offered_at timestamp with time zone NOT NULL
);
CREATE TABLE public.progress (
    resource_uid text NOT NULL COLLATE pg_catalog."C",
    body jsonb NOT NULL,
    at timestamp with time zone NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
)
WITH (fillfactor='70');
CREATE TABLE public.public_address (
    address inet NOT NULL,
    site text NOT NULL COLLATE pg_catalog."C",
    public_ip text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.realization (
    id text NOT NULL COLLATE pg_catalog."C",
    resource_uid text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    role text NOT NULL,
    facet text NOT NULL,
    site text NOT NULL,
    host text,
    key text NOT NULL,
    state text NOT NULL,
    handle jsonb,
    facts jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT realization_role_check CHECK ((role = ANY (ARRAY['primary'::text, 'incoming'::text, 'retained'::text]))),
    CONSTRAINT realization_state_check CHECK ((state = ANY (ARRAY['intended'::text, 'present'::text, 'removing'::text])))
);
CREATE TABLE public.resource (
    uid text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    parent text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    ref text NOT NULL,
    tenant text,
    workspace text,
    network text,
    labels jsonb NOT NULL,
    annotations jsonb NOT NULL,
    extensions jsonb NOT NULL,
    spec jsonb NOT NULL,
    status jsonb NOT NULL,
    state text NOT NULL,
    conditions jsonb NOT NULL,
    resource_version bigint DEFAULT 1 NOT NULL,
    generation integer DEFAULT 0 NOT NULL,
    revision_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    revision_seq bigint DEFAULT nextval('public.feed_position'::regclass) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_modified_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT resource_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'creating'::text, 'active'::text, 'updating'::text, 'deleting'::text, 'error'::text])))
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE public.resource_label (
    kind text NOT NULL COLLATE pg_catalog."C",
    parent text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.resource_reference (
    uid text NOT NULL COLLATE pg_catalog."C",
    pointer text NOT NULL,
    target_uid text NOT NULL COLLATE pg_catalog."C",
    given jsonb NOT NULL
);
CREATE TABLE public.run_permit (
    instance_uid text NOT NULL,
    epoch integer NOT NULL,
    holder text NOT NULL,
    evidence jsonb,
    surrender jsonb,
    next_holder text,
    bound_to text,
    CONSTRAINT run_permit_epoch_check CHECK ((epoch >= 1))
);
CREATE TABLE public.stream_ticket (
    hash bytea NOT NULL,
    subject jsonb NOT NULL,
    path text NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.tombstone (
    uid text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    parent text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    ref text NOT NULL,
    tenant text,
    workspace text,
    network text,
    labels jsonb NOT NULL,
    annotations jsonb NOT NULL,
    extensions jsonb NOT NULL,
    spec jsonb NOT NULL,
    status jsonb NOT NULL,
    state text NOT NULL,
    conditions jsonb NOT NULL,
    resource_version bigint DEFAULT 1 NOT NULL,
    generation integer DEFAULT 0 NOT NULL,
    revision_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    revision_seq bigint DEFAULT nextval('public.feed_position'::regclass) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_modified_at timestamp with time zone NOT NULL,
    deleted_at timestamp with time zone,
    removed_at timestamp with time zone NOT NULL
);
CREATE TABLE public.workspace_load (
    tenant text NOT NULL COLLATE pg_catalog."C",
    workspace text NOT NULL COLLATE pg_catalog."C",
    part smallint NOT NULL,
    held bigint NOT NULL
)
WITH (fillfactor='70');
INSERT INTO control.migration VALUES
	('engine', '0001-engine', 0, 'fb1008fd398985d7e50348523dbaa028153df7e04f4bb450ecb055c260430062', '2026-11-28 01:19:29.961609+00'),
	('resources', '0001-resource', 0, 'be073f33482733a4fdb334128cac8a6240f431af28d3021d7d7605c0d5328af2', '2026-11-28 01:19:30.06902+00'),
	('resources', '0002-realization-host', 1, '16b8c42beed368c3686ca85e65691870e1be4b9d040f3ce86c4408ea65977e72', '2026-11-28 01:19:30.074957+00'),
	('resources', '0003-workspace-load', 2, 'b835eb215db460cd8e1e5234791a74d0acccba97748b744cb622b64eeac80c0a', '2026-11-28 01:19:30.088736+00'),
	('capacity', 'capacity-0001-claim', 0, '361fb0c868e714594388eedfba29160078d8b1d175daad228062f9e8ff42dcef', '2026-11-28 01:19:30.103014+00'),
	('capacity', 'capacity-0002-hardware', 1, 'a3e82e2005637c2afddaa8ca29d6b2ebedc59114920725821d83f74438c1d6f2', '2026-11-28 01:19:30.107724+00'),
	('capacity', 'capacity-0003-devices', 2, '87d3aa1392cbf571339053e6e74a0c66d25d7f708ddf501727a82cfd92d633e2', '2026-11-28 01:19:30.111206+00'),
	('fleet', '0001-fleet', 0, '3b9cef0d8eea129aa8aed67eb988e19758456633e4c9fcea1019ec29ced85365', '2026-11-28 01:19:30.184854+00'),
	('fleet', '0002-maintenance', 1, 'b725e7790cbbbc29787a71e02d2158f34e4f4d5bb90f09c3e8ffd63301699850', '2026-11-28 01:19:30.187662+00'),
	('fleet', '0003-filters', 2, 'a86439454bfd85ddbc5b8157d20f3a62d0550b06036935f4e9d097eae3157130', '2026-11-28 01:19:30.191493+00'),
	('fleet', '0004-clock-offset', 3, '37538f905c212d3f0d476fca5a7d6a70be898366d4d2fb5c7e5f04a638cf953a', '2026-11-28 01:19:30.195094+00'),
	('fleet', '0005-backups', 4, '362be02d640d53e2a1f2f1675bcd2abf2b589914b13a92515846e32968a6305c', '2026-11-28 01:19:30.199193+00'),
	('fleet', '0006-snapshots', 5, 'e04d7e9eebf28c9e7ab58b499cdb7b607ac1c0bcde0ea4f3aa5bd65687edf073', '2026-11-28 01:19:30.203332+00'),
	('fleet', '0007-overlay', 6, '44e5273e0b95870a409c31604c82d04813e6f0b1b11067e2705974ea2ad471af', '2026-11-28 01:19:30.231165+00'),
	('fleet', '0008-paths', 7, 'e76b7af86e6d0f62ffa45d5598a77c567de846fb5abdb0f936503103761148ad', '2026-11-28 01:19:30.251167+00'),
	('fleet', '0009-agent-release', 8, 'bc9bc8a7c5489e11589def04ada7406a319014137c5d3afce3750444c888682f', '2026-11-28 01:19:30.255294+00'),
	('access', '0001-access', 0, '47696f5c50442d9b94812a9f67a8871afa027e3e69e77396c39608d562e74a49', '2026-11-28 01:19:30.270729+00'),
	('instance', 'instance-0001-permit', 0, '6e20a35bfbb93c536f05e00f04b7549320356563dcd776551eede1ac554104f5', '2026-11-28 01:19:30.282987+00'),
	('instance', 'instance-0002-promised-permit', 1, 'c40605522e08d2f70bde9f5920a580defe408c29d0893e6c9446c32ce3a4e358', '2026-11-28 01:19:30.28724+00'),
	('instance', 'instance-0002-power', 2, 'a565c1a96d7e6fb7a46d6fa3cb0bc5117250f6600f0e3545c5c9ecd39fa0a058', '2026-11-28 01:19:30.298946+00'),
	('instance', 'instance-0003-anti-affinity', 3, 'cdfebd9a7f135439cd9b7e13e6aa3650b5208426c8b116d7d4065788f92f0185', '2026-11-28 01:19:30.306838+00'),
	('network', 'network-0001-vni', 0, '2b3cca74701a858d8d8fbb6fa2be087cf3fb91cf21eaf5d72451ba7e8b583dfb', '2026-11-28 01:19:30.318386+00'),
	('nic', 'nic-0001-address', 0, 'd654087210a315160b02048f986ae78444612883e35f48271e80cad6580ddfcf', '2026-11-28 01:19:30.347182+00'),
	('topology', 'topology-0001-drain-move', 0, '25d7a7944e7215013da1e19d118f21826061055495a3b0ac3d33877d40d94069', '2026-11-28 01:19:30.361151+00'),
	('public-ip', 'public-ip-0001-address', 0, '46c4e4b32a5cb22151ba01e56e677930fe87a994efdad72bf2147f5814f7ebba', '2026-11-28 01:19:30.36665+00'),
	('samples', 'samples-0001', 0, 'bc8e4949d23b897ef907b322407daadf59057c4b2d839ad2c64509134adf36af', '2026-11-28 01:19:30.379007+00'),
	('preset', '0001-preset', 0, '2afd95c7d1bae85f2db9b06c437c0d3c613d1a4b3dc9892ac4f51e4f86261166', '2026-11-28 01:19:30.388496+00'),
	('stream', '0001-stream-ticket', 0, '7388122bdec4d0e0abaeaf94cda9f0e6c0a34b33be9126d8c212e52fa9476a72', '2026-11-28 01:19:30.402024+00'),
	('identity', '0001-assignment-subjects', 0, '9b4091224fa6c19238c5550bdd5cce06ee18c86178c3280a145970377f262833', '2026-11-28 01:19:30.409349+00');
INSERT INTO control.plane VALUES
	(true, 'f9d46089-e423-41fe-86ed-5d0a4317ee2f', '2026-11-28 01:19:30.414266+00');
INSERT INTO engine.work VALUES
	('network/res_01m8fvrt8g2hjnty8hh8de1feb', DEFAULT, 'default', NULL, NULL, NULL, NULL, 0, 'done', NULL, '2026-11-28 01:19:31.219968+00', 0.014241422000000057),
	('block-storage/res_01m8fvrtd3wjm2314ab6qc6h8c', DEFAULT, 'default', NULL, NULL, NULL, NULL, 0, 'done', NULL, '2026-11-28 01:19:31.250962+00', 0.004009533000000374),
	('instance/res_01m8fvrtdznskzd9qq30jvctc5', DEFAULT, 'default', '2026-11-28 01:19:46.295965+00', NULL, NULL, NULL, 0, 'wait', 'no site has a host yet; enrol one with: virt8ra enrol HOST --site SITE', '2026-11-28 01:19:31.295966+00', 0.02769766199999958);
INSERT INTO fleet.authority VALUES
	(1, '1c4a13c4857363fd993010a6da2660cf710f7927b639701c828c812567adb2d5');
INSERT INTO public.audit OVERRIDING SYSTEM VALUE VALUES
	('aud_01m8fvrspn90r4zx8w1abc2mhr', '2026-11-28 01:19:30.517+00', 'virt8ra-server', '', 'put', 'virt8ra.topology/v1beta1/providers/arsys', 201, NULL, NULL, 'a provider that is known from the first start', '761', 1),
	('aud_01m8fvrspqzad1nw0dtk1ff77j', '2026-11-28 01:19:30.519+00', 'virt8ra-server', '', 'put', 'virt8ra.topology/v1beta1/providers/bit', 201, NULL, NULL, 'a provider that is known from the first start', '761', 2),
	('aud_01m8fvrsprpnry4aq6k6qv7exa', '2026-11-28 01:19:30.521+00', 'virt8ra-server', '', 'put', 'virt8ra.topology/v1beta1/providers/gdansk-university-of-technology', 201, NULL, NULL, 'a provider that is known from the first start', '761', 3),
	('aud_01m8fvrsptg6c9p29hjtxxdrx9', '2026-11-28 01:19:30.522+00', 'virt8ra-server', '', 'put', 'virt8ra.topology/v1beta1/providers/infobip', 201, NULL, NULL, 'a provider that is known from the first start', '761', 4),
	('aud_01m8fvrspv80p9k5x3cd95knef', '2026-11-28 01:19:30.523+00', 'virt8ra-server', '', 'put', 'virt8ra.topology/v1beta1/providers/ionos', 201, NULL, NULL, 'a provider that is known from the first start', '761', 5),
	('aud_01m8fvrspw8gcx4gb7vbyjmxrh', '2026-11-28 01:19:30.524+00', 'virt8ra-server', '', 'put', 'virt8ra.topology/v1beta1/providers/kontron', 201, NULL, NULL, 'a provider that is known from the first start', '761', 6),
	('aud_01m8fvrspwxattqhknf716mat6', '2026-11-28 01:19:30.524+00', 'virt8ra-server', '', 'put', 'virt8ra.topology/v1beta1/providers/mondragon', 201, NULL, NULL, 'a provider that is known from the first start', '761', 7),
	('aud_01m8fvrspx5q5aajr3scgs2gef', '2026-11-28 01:19:30.525+00', 'virt8ra-server', '', 'put', 'virt8ra.topology/v1beta1/providers/oktawave', 201, NULL, NULL, 'a provider that is known from the first start', '761', 8),
	('aud_01m8fvrt2k4bpdgd4419mwq1gb', '2026-11-28 01:19:30.899+00', 'admin', '127.0.0.1', 'put', 'seca.workspace/v1/tenants/default/workspaces/shop', 201, NULL, 'version 1 sha256 1e03a80e43a79a415d173786a7b19748c4260f2a1e031ac49c41b340dcb10043', NULL, '764', 9),
	('aud_01m8fvrt43fvxfv532nc64yqhm', '2026-11-28 01:19:30.947+00', 'admin', '127.0.0.1', 'put', 'virt8ra.topology/v1beta1/providers/test', 201, NULL, 'version 1 sha256 fcfcdcaaa7e53497c00c1e3b689b2be790a19b6badd9f2d53fe49d3afe901510', NULL, '766', 10),
	('aud_01m8fvrt4kknyx2r4zavn8x8cc', '2026-11-28 01:19:30.963+00', 'admin', '127.0.0.1', 'put', 'virt8ra.topology/v1beta1/accounts/test', 201, NULL, 'version 1 sha256 a67c50947ac39f62eb57c1e215f7b32f64fce2da57a71c6045c5596f313cc1b8', NULL, '768', 11),
	('aud_01m8fvrt6atdv5xn1x68rpysyq', '2026-11-28 01:19:31.018+00', 'admin', '127.0.0.1', 'put', 'virt8ra.topology/v1beta1/sites/here', 201, NULL, 'version 1 sha256 69355fed94e806e0536b9f1663c2ddd587ad9931bff8d15990bf8b3861585bee', NULL, '770', 12),
	('aud_01m8fvrt91ecwsnv700wemqex9', '2026-11-28 01:19:31.105+00', 'admin', '127.0.0.1', 'put', 'seca.network/v1/tenants/default/workspaces/shop/networks/lan', 201, NULL, 'version 1 sha256 e9de6a709e84570d98a0ce6da707adfeafa660066bec45f09f258369df14d524', NULL, '772', 13),
	('aud_01m8fvrtbqmv84x9k79fdp28hp', '2026-11-28 01:19:31.191+00', 'admin', '127.0.0.1', 'put', 'seca.network/v1/tenants/default/workspaces/shop/networks/lan/subnets/web', 201, NULL, 'version 1 sha256 fc267cad0aa00278213cdd9e261f58b03d142b1036a3ea6aecd40b60dac22eb4', NULL, '775', 14),
	('aud_01m8fvrtcvct1h1x9hqxbty3fz', '2026-11-28 01:19:31.227+00', 'admin', '127.0.0.1', 'put', 'seca.network/v1/tenants/default/workspaces/shop/nics/web', 201, NULL, 'version 1 sha256 b77b9bb7010f39ca6834e3f36ba4bff39f25aebdd90235050e1a035ae3525f06', NULL, '779', 15),
	('aud_01m8fvrtd4jazqsgm2ray3ecvb', '2026-11-28 01:19:31.236+00', 'admin', '127.0.0.1', 'put', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/root', 201, NULL, 'version 1 sha256 83b7e24bac38cee566ab997ba832e9e80c3e2148ac7ac0c2dd7ff3502de51d2f', NULL, '782', 16),
	('aud_01m8fvrte0mdp672jb3cxcr5aj', '2026-11-28 01:19:31.264+00', 'admin', '127.0.0.1', 'put', 'seca.compute/v1/tenants/default/workspaces/shop/instances/web', 201, NULL, 'version 1 sha256 2e385b8590186bf25f391ebf1b3b5d9c7fe79566998fd11fb251a291a7682263', NULL, '786', 17),
	('aud_01m8fvrtewtaj5k0vp934zpyjr', '2026-11-28 01:19:31.292+00', 'admin', '127.0.0.1', 'put', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone', 201, NULL, 'version 1 sha256 4f609fee49976bf8e31c2c308abb6e97578d79629eba162c826ffd2299e74380', NULL, '791', 18),
	('aud_01m8fvrtfjk3sakxpny03pgkv9', '2026-11-28 01:19:31.314+00', 'admin', '127.0.0.1', 'delete', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone', 202, 'version 1', NULL, NULL, '796', 19);
INSERT INTO public.feed VALUES
	('758', 1, 'put', 'instance-sku', 'res_01m8fvrsmqpmexp5jqb51n2b1x', 'seca.compute/v1/tenants/default/skus/seca.xs', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.xs", "uid": "res_01m8fvrsmqpmexp5jqb51n2b1x", "kind": "instance-sku", "name": "seca.xs", "spec": {"ram": 1, "vCPU": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.455Z"}], "created_at": "2026-11-28T01:19:30.455+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 1, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.455+00:00", "resource_version": 1}'),
	('758', 2, 'put', 'instance-sku', 'res_01m8fvrsmsztjptqje2rh5z2k0', 'seca.compute/v1/tenants/default/skus/seca.s', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.s", "uid": "res_01m8fvrsmsztjptqje2rh5z2k0", "kind": "instance-sku", "name": "seca.s", "spec": {"ram": 2, "vCPU": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.457Z"}], "created_at": "2026-11-28T01:19:30.457+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 2, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.457+00:00", "resource_version": 1}'),
	('758', 3, 'put', 'instance-sku', 'res_01m8fvrsmtzrdxbnrfmzrfktjh', 'seca.compute/v1/tenants/default/skus/seca.m', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.m", "uid": "res_01m8fvrsmtzrdxbnrfmzrfktjh", "kind": "instance-sku", "name": "seca.m", "spec": {"ram": 4, "vCPU": 2}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.458Z"}], "created_at": "2026-11-28T01:19:30.458+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 3, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.458+00:00", "resource_version": 1}'),
	('758', 4, 'put', 'instance-sku', 'res_01m8fvrsmvyqf115p1gq6xqgwt', 'seca.compute/v1/tenants/default/skus/seca.l', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.l", "uid": "res_01m8fvrsmvyqf115p1gq6xqgwt", "kind": "instance-sku", "name": "seca.l", "spec": {"ram": 8, "vCPU": 4}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.459Z"}], "created_at": "2026-11-28T01:19:30.459+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 4, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.459+00:00", "resource_version": 1}'),
	('758', 5, 'put', 'instance-sku', 'res_01m8fvrsmwsnv3cf7napf5hnfw', 'seca.compute/v1/tenants/default/skus/seca.2xl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.2xl", "uid": "res_01m8fvrsmwsnv3cf7napf5hnfw", "kind": "instance-sku", "name": "seca.2xl", "spec": {"ram": 16, "vCPU": 8}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.460Z"}], "created_at": "2026-11-28T01:19:30.46+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 5, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.46+00:00", "resource_version": 1}'),
	('758', 6, 'put', 'instance-sku', 'res_01m8fvrsmyvx0gdmjdys04adkk', 'seca.compute/v1/tenants/default/skus/seca.dxs', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.dxs", "uid": "res_01m8fvrsmyvx0gdmjdys04adkk", "kind": "instance-sku", "name": "seca.dxs", "spec": {"ram": 4, "vCPU": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.462Z"}], "created_at": "2026-11-28T01:19:30.462+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 6, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.462+00:00", "resource_version": 1}'),
	('758', 7, 'put', 'instance-sku', 'res_01m8fvrsmy24y13nhd86pjzpvn', 'seca.compute/v1/tenants/default/skus/seca.ds', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.ds", "uid": "res_01m8fvrsmy24y13nhd86pjzpvn", "kind": "instance-sku", "name": "seca.ds", "spec": {"ram": 8, "vCPU": 2}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.462Z"}], "created_at": "2026-11-28T01:19:30.462+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 7, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.462+00:00", "resource_version": 1}'),
	('758', 8, 'put', 'instance-sku', 'res_01m8fvrsmzk0g1mngh5j8qb7k3', 'seca.compute/v1/tenants/default/skus/seca.dm', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.dm", "uid": "res_01m8fvrsmzk0g1mngh5j8qb7k3", "kind": "instance-sku", "name": "seca.dm", "spec": {"ram": 16, "vCPU": 4}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.463Z"}], "created_at": "2026-11-28T01:19:30.463+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 8, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.463+00:00", "resource_version": 1}'),
	('758', 9, 'put', 'instance-sku', 'res_01m8fvrsmze4mn5wxbxnc4kqsx', 'seca.compute/v1/tenants/default/skus/seca.dl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.dl", "uid": "res_01m8fvrsmze4mn5wxbxnc4kqsx", "kind": "instance-sku", "name": "seca.dl", "spec": {"ram": 32, "vCPU": 8}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.463Z"}], "created_at": "2026-11-28T01:19:30.463+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 9, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.463+00:00", "resource_version": 1}'),
	('758', 10, 'put', 'instance-sku', 'res_01m8fvrsn043ve8ep5c4wnjt5a', 'seca.compute/v1/tenants/default/skus/seca.dxl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.dxl", "uid": "res_01m8fvrsn043ve8ep5c4wnjt5a", "kind": "instance-sku", "name": "seca.dxl", "spec": {"ram": 64, "vCPU": 16}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.464Z"}], "created_at": "2026-11-28T01:19:30.464+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 10, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.464+00:00", "resource_version": 1}'),
	('758', 11, 'put', 'instance-sku', 'res_01m8fvrsn1jbxzjr7xx0vva2xq', 'seca.compute/v1/tenants/default/skus/seca.sxl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/seca.sxl", "uid": "res_01m8fvrsn1jbxzjr7xx0vva2xq", "kind": "instance-sku", "name": "seca.sxl", "spec": {"ram": 32, "vCPU": 16}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.465Z"}], "created_at": "2026-11-28T01:19:30.465+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 11, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.465+00:00", "resource_version": 1}'),
	('758', 12, 'put', 'instance-sku', 'res_01m8fvrsn1f2sqr0qf74jgfjza', 'seca.compute/v1/tenants/default/skus/virt8ra.pxs', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.pxs", "uid": "res_01m8fvrsn1f2sqr0qf74jgfjza", "kind": "instance-sku", "name": "virt8ra.pxs", "spec": {"ram": 1, "vCPU": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.465Z"}], "created_at": "2026-11-28T01:19:30.465+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated"}, "generation": 0, "annotations": {}, "revision_seq": 12, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.465+00:00", "resource_version": 1}'),
	('758', 13, 'put', 'instance-sku', 'res_01m8fvrsn2vv4xkkdkj24zj1dj', 'seca.compute/v1/tenants/default/skus/virt8ra.pm', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.pm", "uid": "res_01m8fvrsn2vv4xkkdkj24zj1dj", "kind": "instance-sku", "name": "virt8ra.pm", "spec": {"ram": 4, "vCPU": 2}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.466Z"}], "created_at": "2026-11-28T01:19:30.466+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated"}, "generation": 0, "annotations": {}, "revision_seq": 13, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.466+00:00", "resource_version": 1}'),
	('758', 14, 'put', 'instance-sku', 'res_01m8fvrsn5sq5mztzexgb0rp0s', 'seca.compute/v1/tenants/default/skus/virt8ra.pl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.pl", "uid": "res_01m8fvrsn5sq5mztzexgb0rp0s", "kind": "instance-sku", "name": "virt8ra.pl", "spec": {"ram": 8, "vCPU": 4}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.469Z"}], "created_at": "2026-11-28T01:19:30.469+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated"}, "generation": 0, "annotations": {}, "revision_seq": 14, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.469+00:00", "resource_version": 1}'),
	('758', 15, 'put', 'instance-sku', 'res_01m8fvrsn5bpk285car8p81yne', 'seca.compute/v1/tenants/default/skus/virt8ra.p2xl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.p2xl", "uid": "res_01m8fvrsn5bpk285car8p81yne", "kind": "instance-sku", "name": "virt8ra.p2xl", "spec": {"ram": 16, "vCPU": 8}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.469Z"}], "created_at": "2026-11-28T01:19:30.469+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated"}, "generation": 0, "annotations": {}, "revision_seq": 15, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.469+00:00", "resource_version": 1}'),
	('758', 16, 'put', 'instance-sku', 'res_01m8fvrsn6t9zkr6hn8wzkxvzq', 'seca.compute/v1/tenants/default/skus/virt8ra.p4xl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.p4xl", "uid": "res_01m8fvrsn6t9zkr6hn8wzkxvzq", "kind": "instance-sku", "name": "virt8ra.p4xl", "spec": {"ram": 64, "vCPU": 16}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.470Z"}], "created_at": "2026-11-28T01:19:30.47+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated"}, "generation": 0, "annotations": {}, "revision_seq": 16, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.47+00:00", "resource_version": 1}'),
	('758', 17, 'put', 'instance-sku', 'res_01m8fvrsn6tpx6xb3aqhvzxbwe', 'seca.compute/v1/tenants/default/skus/virt8ra.phxs', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.phxs", "uid": "res_01m8fvrsn6tpx6xb3aqhvzxbwe", "kind": "instance-sku", "name": "virt8ra.phxs", "spec": {"ram": 1, "vCPU": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.470Z"}], "created_at": "2026-11-28T01:19:30.47+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "2Mi"}, "generation": 0, "annotations": {}, "revision_seq": 17, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.47+00:00", "resource_version": 1}'),
	('761', 40, 'put', 'provider', 'res_01m8fvrspnrbrhmqwtgp2abmzz', 'virt8ra.topology/v1beta1/providers/arsys', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/arsys", "uid": "res_01m8fvrspnrbrhmqwtgp2abmzz", "kind": "provider", "name": "arsys", "spec": {"legalSeat": "ES", "displayName": "Arsys"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.517Z"}], "created_at": "2026-11-28T01:19:30.517+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 40, "revision_xid": "761", "last_modified_at": "2026-11-28T01:19:30.517+00:00", "resource_version": 1}'),
	('758', 18, 'put', 'instance-sku', 'res_01m8fvrsn7s3q7wbgzfjpra8b6', 'seca.compute/v1/tenants/default/skus/virt8ra.phm', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.phm", "uid": "res_01m8fvrsn7s3q7wbgzfjpra8b6", "kind": "instance-sku", "name": "virt8ra.phm", "spec": {"ram": 4, "vCPU": 2}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.471Z"}], "created_at": "2026-11-28T01:19:30.471+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "2Mi"}, "generation": 0, "annotations": {}, "revision_seq": 18, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.471+00:00", "resource_version": 1}'),
	('758', 19, 'put', 'instance-sku', 'res_01m8fvrsn7mzs04h8fvd78mvtg', 'seca.compute/v1/tenants/default/skus/virt8ra.phl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.phl", "uid": "res_01m8fvrsn7mzs04h8fvd78mvtg", "kind": "instance-sku", "name": "virt8ra.phl", "spec": {"ram": 8, "vCPU": 4}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.471Z"}], "created_at": "2026-11-28T01:19:30.471+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "2Mi"}, "generation": 0, "annotations": {}, "revision_seq": 19, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.471+00:00", "resource_version": 1}'),
	('758', 20, 'put', 'instance-sku', 'res_01m8fvrsnab8gkw1y952fthr7s', 'seca.compute/v1/tenants/default/skus/virt8ra.ph2xl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.ph2xl", "uid": "res_01m8fvrsnab8gkw1y952fthr7s", "kind": "instance-sku", "name": "virt8ra.ph2xl", "spec": {"ram": 16, "vCPU": 8}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.474Z"}], "created_at": "2026-11-28T01:19:30.474+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "2Mi"}, "generation": 0, "annotations": {}, "revision_seq": 20, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.474+00:00", "resource_version": 1}'),
	('758', 21, 'put', 'instance-sku', 'res_01m8fvrsnbe8p1fdvth1wggcw3', 'seca.compute/v1/tenants/default/skus/virt8ra.ph4xl', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/skus/virt8ra.ph4xl", "uid": "res_01m8fvrsnbe8p1fdvth1wggcw3", "kind": "instance-sku", "name": "virt8ra.ph4xl", "spec": {"ram": 64, "vCPU": 16}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.475Z"}], "created_at": "2026-11-28T01:19:30.475+00:00", "deleted_at": null, "extensions": {"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "1Gi"}, "generation": 0, "annotations": {}, "revision_seq": 21, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.475+00:00", "resource_version": 1}'),
	('758', 22, 'put', 'storage-sku', 'res_01m8fvrsnbgbnp9j7vp4xxj34h', 'seca.storage/v1/tenants/default/skus/rd100', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/rd100", "uid": "res_01m8fvrsnbgbnp9j7vp4xxj34h", "kind": "storage-sku", "name": "rd100", "spec": {"iops": 100, "type": "remote-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.475Z"}], "created_at": "2026-11-28T01:19:30.475+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 22, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.475+00:00", "resource_version": 1}'),
	('758', 23, 'put', 'storage-sku', 'res_01m8fvrsnb04yekme9tbepqs6n', 'seca.storage/v1/tenants/default/skus/rd500', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/rd500", "uid": "res_01m8fvrsnb04yekme9tbepqs6n", "kind": "storage-sku", "name": "rd500", "spec": {"iops": 500, "type": "remote-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.475Z"}], "created_at": "2026-11-28T01:19:30.475+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 23, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.475+00:00", "resource_version": 1}'),
	('758', 24, 'put', 'storage-sku', 'res_01m8fvrsnccrq9e685130pd2qd', 'seca.storage/v1/tenants/default/skus/rd2k', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/rd2k", "uid": "res_01m8fvrsnccrq9e685130pd2qd", "kind": "storage-sku", "name": "rd2k", "spec": {"iops": 2000, "type": "remote-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.476Z"}], "created_at": "2026-11-28T01:19:30.476+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 24, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.476+00:00", "resource_version": 1}'),
	('758', 25, 'put', 'storage-sku', 'res_01m8fvrsncxg6014ry842wahsw', 'seca.storage/v1/tenants/default/skus/rd10k', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/rd10k", "uid": "res_01m8fvrsncxg6014ry842wahsw", "kind": "storage-sku", "name": "rd10k", "spec": {"iops": 10000, "type": "remote-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.476Z"}], "created_at": "2026-11-28T01:19:30.476+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 25, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.476+00:00", "resource_version": 1}'),
	('758', 26, 'put', 'storage-sku', 'res_01m8fvrsndgqdgtd5zxzvmhwyy', 'seca.storage/v1/tenants/default/skus/rd20k', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/rd20k", "uid": "res_01m8fvrsndgqdgtd5zxzvmhwyy", "kind": "storage-sku", "name": "rd20k", "spec": {"iops": 20000, "type": "remote-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.477Z"}], "created_at": "2026-11-28T01:19:30.477+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 26, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.477+00:00", "resource_version": 1}'),
	('758', 27, 'put', 'storage-sku', 'res_01m8fvrsnjseec4eryv2m6gvdt', 'seca.storage/v1/tenants/default/skus/ld100', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/ld100", "uid": "res_01m8fvrsnjseec4eryv2m6gvdt", "kind": "storage-sku", "name": "ld100", "spec": {"iops": 100, "type": "local-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.482Z"}], "created_at": "2026-11-28T01:19:30.482+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 27, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.482+00:00", "resource_version": 1}'),
	('758', 28, 'put', 'storage-sku', 'res_01m8fvrsnkkqvzgqq0j4ne4w25', 'seca.storage/v1/tenants/default/skus/ld500', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/ld500", "uid": "res_01m8fvrsnkkqvzgqq0j4ne4w25", "kind": "storage-sku", "name": "ld500", "spec": {"iops": 500, "type": "local-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.483Z"}], "created_at": "2026-11-28T01:19:30.483+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 28, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.483+00:00", "resource_version": 1}'),
	('758', 29, 'put', 'storage-sku', 'res_01m8fvrsnk285a1tfcf8jd0weq', 'seca.storage/v1/tenants/default/skus/ld5k', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/ld5k", "uid": "res_01m8fvrsnk285a1tfcf8jd0weq", "kind": "storage-sku", "name": "ld5k", "spec": {"iops": 5000, "type": "local-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.483Z"}], "created_at": "2026-11-28T01:19:30.483+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 29, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.483+00:00", "resource_version": 1}'),
	('758', 30, 'put', 'storage-sku', 'res_01m8fvrsnmxechxdq1t8cx38jk', 'seca.storage/v1/tenants/default/skus/ld20k', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/ld20k", "uid": "res_01m8fvrsnmxechxdq1t8cx38jk", "kind": "storage-sku", "name": "ld20k", "spec": {"iops": 20000, "type": "local-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.484Z"}], "created_at": "2026-11-28T01:19:30.484+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 30, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.484+00:00", "resource_version": 1}'),
	('758', 31, 'put', 'storage-sku', 'res_01m8fvrsnm6xmz8694fe2crch1', 'seca.storage/v1/tenants/default/skus/ld40k', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/skus/ld40k", "uid": "res_01m8fvrsnm6xmz8694fe2crch1", "kind": "storage-sku", "name": "ld40k", "spec": {"iops": 40000, "type": "local-durable", "minVolumeSize": 1}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.484Z"}], "created_at": "2026-11-28T01:19:30.484+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 31, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.484+00:00", "resource_version": 1}'),
	('758', 32, 'put', 'network-sku', 'res_01m8fvrsnnpvd5grn2zyadj8sn', 'seca.network/v1/tenants/default/skus/n1k', 'default', '{}', NULL, '{"ref": "seca.network/v1/tenants/default/skus/n1k", "uid": "res_01m8fvrsnnpvd5grn2zyadj8sn", "kind": "network-sku", "name": "n1k", "spec": {"packets": 100000, "bandwidth": 1000}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.485Z"}], "created_at": "2026-11-28T01:19:30.485+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 32, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.485+00:00", "resource_version": 1}'),
	('758', 33, 'put', 'network-sku', 'res_01m8fvrsnn2ah02fcd3q1z1qre', 'seca.network/v1/tenants/default/skus/n5k', 'default', '{}', NULL, '{"ref": "seca.network/v1/tenants/default/skus/n5k", "uid": "res_01m8fvrsnn2ah02fcd3q1z1qre", "kind": "network-sku", "name": "n5k", "spec": {"packets": 500000, "bandwidth": 5000}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.485Z"}], "created_at": "2026-11-28T01:19:30.485+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 33, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.485+00:00", "resource_version": 1}'),
	('758', 34, 'put', 'network-sku', 'res_01m8fvrsnpvssqfk709atkrmaj', 'seca.network/v1/tenants/default/skus/n10k', 'default', '{}', NULL, '{"ref": "seca.network/v1/tenants/default/skus/n10k", "uid": "res_01m8fvrsnpvssqfk709atkrmaj", "kind": "network-sku", "name": "n10k", "spec": {"packets": 1000000, "bandwidth": 10000}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.486Z"}], "created_at": "2026-11-28T01:19:30.486+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 34, "revision_xid": "758", "last_modified_at": "2026-11-28T01:19:30.486+00:00", "resource_version": 1}'),
	('760', 35, 'put', 'role', 'res_01m8fvrsp2z4eqdvk19dcd67t9', 'seca.authorization/v1/tenants/default/roles/seca.admin', 'default', '{}', NULL, '{"ref": "seca.authorization/v1/tenants/default/roles/seca.admin", "uid": "res_01m8fvrsp2z4eqdvk19dcd67t9", "kind": "role", "name": "seca.admin", "spec": {"permissions": [{"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.authorization", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.identity", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.workspace", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.compute", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.storage", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.network", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.loadbalancer", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.natgateway", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.kubernetes", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.objectstorage", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.image", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.migration", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.backup", "resources": ["*"]}]}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.498Z"}], "created_at": "2026-11-28T01:19:30.498+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 35, "revision_xid": "760", "last_modified_at": "2026-11-28T01:19:30.498+00:00", "resource_version": 1}'),
	('760', 36, 'put', 'role', 'res_01m8fvrsp6brm1c7hpvk4zp1hn', 'seca.authorization/v1/tenants/default/roles/seca.region-admin', 'default', '{}', NULL, '{"ref": "seca.authorization/v1/tenants/default/roles/seca.region-admin", "uid": "res_01m8fvrsp6brm1c7hpvk4zp1hn", "kind": "role", "name": "seca.region-admin", "spec": {"permissions": [{"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.workspace", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.compute", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.storage", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.network", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.loadbalancer", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.natgateway", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.kubernetes", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.image", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.migration", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.backup", "resources": ["*"]}]}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.502Z"}], "created_at": "2026-11-28T01:19:30.502+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 36, "revision_xid": "760", "last_modified_at": "2026-11-28T01:19:30.502+00:00", "resource_version": 1}'),
	('760', 37, 'put', 'role', 'res_01m8fvrsp6sre59gqzepdxtfb7', 'seca.authorization/v1/tenants/default/roles/seca.workspace-admin', 'default', '{}', NULL, '{"ref": "seca.authorization/v1/tenants/default/roles/seca.workspace-admin", "uid": "res_01m8fvrsp6sre59gqzepdxtfb7", "kind": "role", "name": "seca.workspace-admin", "spec": {"permissions": [{"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.workspace", "resources": ["workspaces/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.compute", "resources": ["instances", "instances/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.storage", "resources": ["block-storages", "block-storages/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.network", "resources": ["networks", "networks/*", "internet-gateways", "internet-gateways/*", "route-tables", "route-tables/*", "subnets", "subnets/*", "public-ips", "public-ips/*", "security-group-rules", "security-group-rules/*", "security-groups", "security-groups/*", "nics", "nics/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.loadbalancer", "resources": ["network-load-balancers", "network-load-balancers/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.natgateway", "resources": ["internet-nat-gateway-instances", "internet-nat-gateway-instances/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.kubernetes", "resources": ["clusters", "clusters/*", "node-pools", "node-pools/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.objectstorage", "resources": ["accounts", "accounts/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.migration", "resources": ["migrations", "migrations/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.backup", "resources": ["backups", "backups/*", "backup-schedules", "backup-schedules/*", "snapshots", "snapshots/*"]}, {"verb": ["get", "list"], "provider": "seca.compute", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "seca.storage", "resources": ["skus", "skus/*", "images", "images/*"]}, {"verb": ["get", "list"], "provider": "seca.network", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.image", "resources": ["image-imports", "image-imports/*"]}]}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.502Z"}], "created_at": "2026-11-28T01:19:30.502+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 37, "revision_xid": "760", "last_modified_at": "2026-11-28T01:19:30.502+00:00", "resource_version": 1}'),
	('760', 38, 'put', 'role', 'res_01m8fvrsp7rbrsyz48ms2sewxt', 'seca.authorization/v1/tenants/default/roles/seca.workspace-editor', 'default', '{}', NULL, '{"ref": "seca.authorization/v1/tenants/default/roles/seca.workspace-editor", "uid": "res_01m8fvrsp7rbrsyz48ms2sewxt", "kind": "role", "name": "seca.workspace-editor", "spec": {"permissions": [{"verb": ["get", "list"], "provider": "seca.workspace", "resources": ["workspaces/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.compute", "resources": ["instances", "instances/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.storage", "resources": ["block-storages", "block-storages/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.network", "resources": ["networks", "networks/*", "internet-gateways", "internet-gateways/*", "route-tables", "route-tables/*", "subnets", "subnets/*", "public-ips", "public-ips/*", "security-group-rules", "security-group-rules/*", "security-groups", "security-groups/*", "nics", "nics/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.loadbalancer", "resources": ["network-load-balancers", "network-load-balancers/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.natgateway", "resources": ["internet-nat-gateway-instances", "internet-nat-gateway-instances/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.kubernetes", "resources": ["clusters", "clusters/*", "node-pools", "node-pools/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.objectstorage", "resources": ["accounts", "accounts/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.migration", "resources": ["migrations", "migrations/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.backup", "resources": ["backups", "backups/*", "backup-schedules", "backup-schedules/*", "snapshots", "snapshots/*"]}, {"verb": ["get", "list"], "provider": "seca.compute", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "seca.storage", "resources": ["skus", "skus/*", "images", "images/*"]}, {"verb": ["get", "list"], "provider": "seca.network", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.image", "resources": ["image-imports", "image-imports/*"]}]}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.503Z"}], "created_at": "2026-11-28T01:19:30.503+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 38, "revision_xid": "760", "last_modified_at": "2026-11-28T01:19:30.503+00:00", "resource_version": 1}'),
	('760', 39, 'put', 'role', 'res_01m8fvrsp89bdft0q73b1ppjpy', 'seca.authorization/v1/tenants/default/roles/seca.workspace-viewer', 'default', '{}', NULL, '{"ref": "seca.authorization/v1/tenants/default/roles/seca.workspace-viewer", "uid": "res_01m8fvrsp89bdft0q73b1ppjpy", "kind": "role", "name": "seca.workspace-viewer", "spec": {"permissions": [{"verb": ["get", "list"], "provider": "seca.workspace", "resources": ["workspaces/*"]}, {"verb": ["get", "list"], "provider": "seca.compute", "resources": ["instances", "instances/*"]}, {"verb": ["get", "list"], "provider": "seca.storage", "resources": ["block-storages", "block-storages/*"]}, {"verb": ["get", "list"], "provider": "seca.network", "resources": ["networks", "networks/*", "internet-gateways", "internet-gateways/*", "route-tables", "route-tables/*", "subnets", "subnets/*", "public-ips", "public-ips/*", "security-group-rules", "security-group-rules/*", "security-groups", "security-groups/*", "nics", "nics/*"]}, {"verb": ["get", "list"], "provider": "seca.loadbalancer", "resources": ["network-load-balancers", "network-load-balancers/*"]}, {"verb": ["get", "list"], "provider": "seca.natgateway", "resources": ["internet-nat-gateway-instances", "internet-nat-gateway-instances/*"]}, {"verb": ["get", "list"], "provider": "seca.kubernetes", "resources": ["clusters", "clusters/*", "node-pools", "node-pools/*"]}, {"verb": ["get", "list"], "provider": "seca.objectstorage", "resources": ["accounts", "accounts/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.migration", "resources": ["migrations", "migrations/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.backup", "resources": ["backups", "backups/*", "backup-schedules", "backup-schedules/*", "snapshots", "snapshots/*"]}, {"verb": ["get", "list"], "provider": "seca.compute", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "seca.storage", "resources": ["skus", "skus/*", "images", "images/*"]}, {"verb": ["get", "list"], "provider": "seca.network", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.image", "resources": ["image-imports", "image-imports/*"]}]}, "state": "active", "labels": {}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.504Z"}], "created_at": "2026-11-28T01:19:30.504+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 39, "revision_xid": "760", "last_modified_at": "2026-11-28T01:19:30.504+00:00", "resource_version": 1}'),
	('761', 41, 'put', 'provider', 'res_01m8fvrspqg2wh53erx9rzna3e', 'virt8ra.topology/v1beta1/providers/bit', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/bit", "uid": "res_01m8fvrspqg2wh53erx9rzna3e", "kind": "provider", "name": "bit", "spec": {"legalSeat": "NL", "displayName": "BIT"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.519Z"}], "created_at": "2026-11-28T01:19:30.519+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 41, "revision_xid": "761", "last_modified_at": "2026-11-28T01:19:30.519+00:00", "resource_version": 1}'),
	('761', 42, 'put', 'provider', 'res_01m8fvrspr0cyvkh9fzrg73ct1', 'virt8ra.topology/v1beta1/providers/gdansk-university-of-technology', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/gdansk-university-of-technology", "uid": "res_01m8fvrspr0cyvkh9fzrg73ct1", "kind": "provider", "name": "gdansk-university-of-technology", "spec": {"legalSeat": "PL", "displayName": "Gdańsk University of Technology"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.520Z"}], "created_at": "2026-11-28T01:19:30.52+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 42, "revision_xid": "761", "last_modified_at": "2026-11-28T01:19:30.52+00:00", "resource_version": 1}'),
	('761', 43, 'put', 'provider', 'res_01m8fvrspstx1b01fqa4m2f37d', 'virt8ra.topology/v1beta1/providers/infobip', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/infobip", "uid": "res_01m8fvrspstx1b01fqa4m2f37d", "kind": "provider", "name": "infobip", "spec": {"legalSeat": "HR", "displayName": "Infobip"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.521Z"}], "created_at": "2026-11-28T01:19:30.521+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 43, "revision_xid": "761", "last_modified_at": "2026-11-28T01:19:30.521+00:00", "resource_version": 1}'),
	('761', 44, 'put', 'provider', 'res_01m8fvrspt9ndg7qygvxkem5v4', 'virt8ra.topology/v1beta1/providers/ionos', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/ionos", "uid": "res_01m8fvrspt9ndg7qygvxkem5v4", "kind": "provider", "name": "ionos", "spec": {"legalSeat": "DE", "displayName": "IONOS"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.522Z"}], "created_at": "2026-11-28T01:19:30.522+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 44, "revision_xid": "761", "last_modified_at": "2026-11-28T01:19:30.522+00:00", "resource_version": 1}'),
	('761', 45, 'put', 'provider', 'res_01m8fvrspvznnk960c71886s9f', 'virt8ra.topology/v1beta1/providers/kontron', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/kontron", "uid": "res_01m8fvrspvznnk960c71886s9f", "kind": "provider", "name": "kontron", "spec": {"legalSeat": "SI", "displayName": "Kontron"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.523Z"}], "created_at": "2026-11-28T01:19:30.523+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 45, "revision_xid": "761", "last_modified_at": "2026-11-28T01:19:30.523+00:00", "resource_version": 1}'),
	('761', 46, 'put', 'provider', 'res_01m8fvrspwgnrbxne9e7j7t6d8', 'virt8ra.topology/v1beta1/providers/mondragon', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/mondragon", "uid": "res_01m8fvrspwgnrbxne9e7j7t6d8", "kind": "provider", "name": "mondragon", "spec": {"legalSeat": "ES", "displayName": "MONDRAGON"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.524Z"}], "created_at": "2026-11-28T01:19:30.524+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 46, "revision_xid": "761", "last_modified_at": "2026-11-28T01:19:30.524+00:00", "resource_version": 1}'),
	('761', 47, 'put', 'provider', 'res_01m8fvrspxn9dstph0kx35qg03', 'virt8ra.topology/v1beta1/providers/oktawave', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/oktawave", "uid": "res_01m8fvrspxn9dstph0kx35qg03", "kind": "provider", "name": "oktawave", "spec": {"legalSeat": "PL", "displayName": "Oktawave"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.525Z"}], "created_at": "2026-11-28T01:19:30.525+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 47, "revision_xid": "761", "last_modified_at": "2026-11-28T01:19:30.525+00:00", "resource_version": 1}'),
	('764', 48, 'put', 'workspace', 'res_01m8fvrt2g4vx3v9kh11vxsck9', 'seca.workspace/v1/tenants/default/workspaces/shop', 'default', '{"env": "prod"}', NULL, '{"ref": "seca.workspace/v1/tenants/default/workspaces/shop", "uid": "res_01m8fvrt2g4vx3v9kh11vxsck9", "kind": "workspace", "name": "shop", "spec": {}, "state": "active", "labels": {"env": "prod"}, "parent": "tenants/default", "status": {}, "tenant": "default", "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.896Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:30.896Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:30.896Z"}], "created_at": "2026-11-28T01:19:30.896+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 48, "revision_xid": "764", "last_modified_at": "2026-11-28T01:19:30.896+00:00", "resource_version": 1}'),
	('766', 49, 'put', 'provider', 'res_01m8fvrt3va26qtgmawavtat4q', 'virt8ra.topology/v1beta1/providers/test', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/providers/test", "uid": "res_01m8fvrt3va26qtgmawavtat4q", "kind": "provider", "name": "test", "spec": {"legalSeat": "PL", "displayName": "Test"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.939Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:30.939Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:30.939Z"}], "created_at": "2026-11-28T01:19:30.939+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 49, "revision_xid": "766", "last_modified_at": "2026-11-28T01:19:30.939+00:00", "resource_version": 1}'),
	('768', 50, 'put', 'account', 'res_01m8fvrt4j233hhjkarks9yfa5', 'virt8ra.topology/v1beta1/accounts/test', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/accounts/test", "uid": "res_01m8fvrt4j233hhjkarks9yfa5", "kind": "account", "name": "test", "spec": {"driver": "agent", "providerRef": "providers/test"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.962Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:30.962Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:30.962Z"}], "created_at": "2026-11-28T01:19:30.962+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 50, "revision_xid": "768", "last_modified_at": "2026-11-28T01:19:30.962+00:00", "resource_version": 1}'),
	('772', 52, 'put', 'network', 'res_01m8fvrt8g2hjnty8hh8de1feb', 'seca.network/v1/tenants/default/workspaces/shop/networks/lan', 'default', '{}', NULL, '{"ref": "seca.network/v1/tenants/default/workspaces/shop/networks/lan", "uid": "res_01m8fvrt8g2hjnty8hh8de1feb", "kind": "network", "name": "lan", "spec": {"cidr": {"ipv4": "10.30.0.0/24"}, "skuRef": "skus/n1k"}, "state": "active", "labels": {}, "parent": "tenants/default/workspaces/shop", "status": {"cidr": {"ipv4": "10.30.0.0/24"}}, "tenant": "default", "network": null, "workspace": "shop", "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:31.088Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.088Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.088Z"}], "created_at": "2026-11-28T01:19:31.088+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 52, "revision_xid": "772", "last_modified_at": "2026-11-28T01:19:31.088+00:00", "resource_version": 1}'),
	('775', 53, 'put', 'subnet', 'res_01m8fvrtbm9mfbcbnyj3ya8dq7', 'seca.network/v1/tenants/default/workspaces/shop/networks/lan/subnets/web', 'default', '{}', NULL, '{"ref": "seca.network/v1/tenants/default/workspaces/shop/networks/lan/subnets/web", "uid": "res_01m8fvrtbm9mfbcbnyj3ya8dq7", "kind": "subnet", "name": "web", "spec": {"cidr": {"ipv4": "10.30.0.0/26"}}, "state": "active", "labels": {}, "parent": "tenants/default/workspaces/shop/networks/lan", "status": {"cidr": {"ipv4": "10.30.0.0/26"}}, "tenant": "default", "network": "lan", "workspace": "shop", "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:31.188Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.188Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.188Z"}], "created_at": "2026-11-28T01:19:31.188+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 53, "revision_xid": "775", "last_modified_at": "2026-11-28T01:19:31.188+00:00", "resource_version": 1}'),
	('779', 54, 'put', 'nic', 'res_01m8fvrtct5vztc4ksnsqx1ff8', 'seca.network/v1/tenants/default/workspaces/shop/nics/web', 'default', '{}', NULL, '{"ref": "seca.network/v1/tenants/default/workspaces/shop/nics/web", "uid": "res_01m8fvrtct5vztc4ksnsqx1ff8", "kind": "nic", "name": "web", "spec": {"addresses": ["0.0.0.0"], "subnetRef": "networks/lan/subnets/web"}, "state": "active", "labels": {}, "parent": "tenants/default/workspaces/shop", "status": {"addresses": ["10.30.0.2"], "macAddress": "02:66:8e:4d:d0:95"}, "tenant": "default", "network": null, "workspace": "shop", "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:31.226Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.226Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.226Z"}], "created_at": "2026-11-28T01:19:31.226+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 54, "revision_xid": "779", "last_modified_at": "2026-11-28T01:19:31.226+00:00", "resource_version": 1}'),
	('786', 56, 'put', 'instance', 'res_01m8fvrtdznskzd9qq30jvctc5', 'seca.compute/v1/tenants/default/workspaces/shop/instances/web', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/workspaces/shop/instances/web", "uid": "res_01m8fvrtdznskzd9qq30jvctc5", "kind": "instance", "name": "web", "spec": {"zone": "any", "skuRef": "skus/seca.xs", "bootVolume": {"deviceRef": "block-storages/root"}}, "state": "creating", "labels": {}, "parent": "tenants/default/workspaces/shop", "status": {"powerState": "off"}, "tenant": "default", "network": null, "workspace": "shop", "conditions": [{"type": "Placed", "state": "creating", "reason": "WaitingForPlacement", "lastTransitionAt": "2026-11-28T01:19:31.263Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.263Z"}], "created_at": "2026-11-28T01:19:31.263+00:00", "deleted_at": null, "extensions": {"virt8ra.power": "on"}, "generation": 0, "annotations": {}, "revision_seq": 56, "revision_xid": "786", "last_modified_at": "2026-11-28T01:19:31.263+00:00", "resource_version": 1}'),
	('790', 57, 'status', 'instance', 'res_01m8fvrtdznskzd9qq30jvctc5', 'seca.compute/v1/tenants/default/workspaces/shop/instances/web', 'default', '{}', NULL, '{"ref": "seca.compute/v1/tenants/default/workspaces/shop/instances/web", "uid": "res_01m8fvrtdznskzd9qq30jvctc5", "kind": "instance", "name": "web", "spec": {"zone": "any", "skuRef": "skus/seca.xs", "bootVolume": {"deviceRef": "block-storages/root"}}, "state": "pending", "labels": {}, "parent": "tenants/default/workspaces/shop", "status": {"powerState": "off"}, "tenant": "default", "network": null, "workspace": "shop", "conditions": [{"type": "Placed", "state": "pending", "reason": "NothingFits", "message": "no site has a host yet; enrol one with: virt8ra enrol HOST --site SITE", "lastTransitionAt": "2026-11-28T01:19:31.289Z"}, {"type": "Placed", "state": "creating", "reason": "WaitingForPlacement", "lastTransitionAt": "2026-11-28T01:19:31.263Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.263Z"}], "created_at": "2026-11-28T01:19:31.263+00:00", "deleted_at": null, "extensions": {"virt8ra.power": "on"}, "generation": 0, "annotations": {}, "revision_seq": 57, "revision_xid": "790", "last_modified_at": "2026-11-28T01:19:31.263+00:00", "resource_version": 1}'),
	('770', 51, 'put', 'site', 'res_01m8fvrt68kde4ahsq8y59vdrf', 'virt8ra.topology/v1beta1/sites/here', NULL, '{}', NULL, '{"ref": "virt8ra.topology/v1beta1/sites/here", "uid": "res_01m8fvrt68kde4ahsq8y59vdrf", "kind": "site", "name": "here", "spec": {"tier": "edge", "country": "PL", "accountRef": "accounts/test"}, "state": "active", "labels": {}, "parent": "", "status": {}, "tenant": null, "network": null, "workspace": null, "conditions": [{"state": "active", "lastTransitionAt": "2026-11-28T01:19:31.016Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.016Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.016Z"}], "created_at": "2026-11-28T01:19:31.016+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 51, "revision_xid": "770", "last_modified_at": "2026-11-28T01:19:31.016+00:00", "resource_version": 1}'),
	('782', 55, 'put', 'block-storage', 'res_01m8fvrtd3wjm2314ab6qc6h8c', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/root', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/workspaces/shop/block-storages/root", "uid": "res_01m8fvrtd3wjm2314ab6qc6h8c", "kind": "block-storage", "name": "root", "spec": {"sizeGB": 1, "skuRef": "skus/rd100"}, "state": "active", "labels": {}, "parent": "tenants/default/workspaces/shop", "status": {"sizeGB": 1}, "tenant": "default", "network": null, "workspace": "shop", "conditions": [{"type": "Placed", "state": "active", "reason": "WaitingForFirstConsumer", "message": "its place is chosen with the first instance that uses it", "lastTransitionAt": "2026-11-28T01:19:31.235Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.235Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.235Z"}], "created_at": "2026-11-28T01:19:31.235+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 55, "revision_xid": "782", "last_modified_at": "2026-11-28T01:19:31.235+00:00", "resource_version": 1}'),
	('791', 58, 'put', 'block-storage', 'res_01m8fvrtevj6j1m50xy551zdkp', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone", "uid": "res_01m8fvrtevj6j1m50xy551zdkp", "kind": "block-storage", "name": "gone", "spec": {"sizeGB": 2, "skuRef": "skus/rd100"}, "state": "active", "labels": {}, "parent": "tenants/default/workspaces/shop", "status": {"sizeGB": 2}, "tenant": "default", "network": null, "workspace": "shop", "conditions": [{"type": "Placed", "state": "active", "reason": "WaitingForFirstConsumer", "message": "its place is chosen with the first instance that uses it", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}], "created_at": "2026-11-28T01:19:31.291+00:00", "deleted_at": null, "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 58, "revision_xid": "791", "last_modified_at": "2026-11-28T01:19:31.291+00:00", "resource_version": 1}'),
	('796', 59, 'status', 'block-storage', 'res_01m8fvrtevj6j1m50xy551zdkp', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone", "uid": "res_01m8fvrtevj6j1m50xy551zdkp", "kind": "block-storage", "name": "gone", "spec": {"sizeGB": 2, "skuRef": "skus/rd100"}, "state": "deleting", "labels": {}, "parent": "tenants/default/workspaces/shop", "status": {"sizeGB": 2}, "tenant": "default", "network": null, "workspace": "shop", "conditions": [{"state": "deleting", "lastTransitionAt": "2026-11-28T01:19:31.309Z"}, {"type": "Placed", "state": "active", "reason": "WaitingForFirstConsumer", "message": "its place is chosen with the first instance that uses it", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}], "created_at": "2026-11-28T01:19:31.291+00:00", "deleted_at": "2026-11-28T01:19:31.309+00:00", "extensions": {}, "generation": 0, "annotations": {}, "revision_seq": 59, "revision_xid": "796", "last_modified_at": "2026-11-28T01:19:31.291+00:00", "resource_version": 1}'),
	('800', 60, 'deleted', 'block-storage', 'res_01m8fvrtevj6j1m50xy551zdkp', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone', 'default', '{}', NULL, '{"ref": "seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone", "uid": "res_01m8fvrtevj6j1m50xy551zdkp", "kind": "block-storage", "name": "gone", "spec": {"sizeGB": 2, "skuRef": "skus/rd100"}, "state": "deleting", "labels": {}, "parent": "tenants/default/workspaces/shop", "status": {"sizeGB": 2}, "tenant": "default", "network": null, "workspace": "shop", "conditions": [{"state": "deleting", "lastTransitionAt": "2026-11-28T01:19:31.309Z"}, {"type": "Placed", "state": "active", "reason": "WaitingForFirstConsumer", "message": "its place is chosen with the first instance that uses it", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}], "created_at": "2026-11-28T01:19:31.291+00:00", "deleted_at": "2026-11-28T01:19:31.309+00:00", "extensions": {}, "generation": 0, "removed_at": "2026-11-28T01:19:31.328+00:00", "annotations": {}, "revision_seq": 60, "revision_xid": "800", "last_modified_at": "2026-11-28T01:19:31.291+00:00", "resource_version": 1}');
INSERT INTO public.feed_floor VALUES
	(true, '0', 0);
INSERT INTO public.nic_address VALUES
	('res_01m8fvrtbm9mfbcbnyj3ya8dq7', '10.30.0.2', 'seca.network/v1/tenants/default/workspaces/shop/nics/web');
INSERT INTO public.nic_free_range VALUES
	('res_01m8fvrtbm9mfbcbnyj3ya8dq7', '10.30.0.3', '10.30.0.62');
INSERT INTO public.nic_mac VALUES
	('seca.network/v1/tenants/default/workspaces/shop/nics/web', '02:66:8e:4d:d0:95');
INSERT INTO public.preset VALUES
	('provider', 'arsys', '2026-11-28 01:19:30.515+00'),
	('provider', 'bit', '2026-11-28 01:19:30.515+00'),
	('provider', 'gdansk-university-of-technology', '2026-11-28 01:19:30.515+00'),
	('provider', 'infobip', '2026-11-28 01:19:30.515+00'),
	('provider', 'ionos', '2026-11-28 01:19:30.515+00'),
	('provider', 'kontron', '2026-11-28 01:19:30.515+00'),
	('provider', 'mondragon', '2026-11-28 01:19:30.515+00'),
	('provider', 'oktawave', '2026-11-28 01:19:30.515+00');
INSERT INTO public.resource VALUES
	('res_01m8fvrsmqpmexp5jqb51n2b1x', 'instance-sku', 'tenants/default', 'seca.xs', 'seca.compute/v1/tenants/default/skus/seca.xs', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 1, "vCPU": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.455Z"}]', 1, 0, '758', 1, '2026-11-28 01:19:30.455+00', '2026-11-28 01:19:30.455+00', NULL),
	('res_01m8fvrsmsztjptqje2rh5z2k0', 'instance-sku', 'tenants/default', 'seca.s', 'seca.compute/v1/tenants/default/skus/seca.s', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 2, "vCPU": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.457Z"}]', 1, 0, '758', 2, '2026-11-28 01:19:30.457+00', '2026-11-28 01:19:30.457+00', NULL),
	('res_01m8fvrsmtzrdxbnrfmzrfktjh', 'instance-sku', 'tenants/default', 'seca.m', 'seca.compute/v1/tenants/default/skus/seca.m', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 4, "vCPU": 2}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.458Z"}]', 1, 0, '758', 3, '2026-11-28 01:19:30.458+00', '2026-11-28 01:19:30.458+00', NULL),
	('res_01m8fvrsmvyqf115p1gq6xqgwt', 'instance-sku', 'tenants/default', 'seca.l', 'seca.compute/v1/tenants/default/skus/seca.l', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 8, "vCPU": 4}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.459Z"}]', 1, 0, '758', 4, '2026-11-28 01:19:30.459+00', '2026-11-28 01:19:30.459+00', NULL),
	('res_01m8fvrsmwsnv3cf7napf5hnfw', 'instance-sku', 'tenants/default', 'seca.2xl', 'seca.compute/v1/tenants/default/skus/seca.2xl', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 16, "vCPU": 8}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.460Z"}]', 1, 0, '758', 5, '2026-11-28 01:19:30.46+00', '2026-11-28 01:19:30.46+00', NULL),
	('res_01m8fvrsmyvx0gdmjdys04adkk', 'instance-sku', 'tenants/default', 'seca.dxs', 'seca.compute/v1/tenants/default/skus/seca.dxs', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 4, "vCPU": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.462Z"}]', 1, 0, '758', 6, '2026-11-28 01:19:30.462+00', '2026-11-28 01:19:30.462+00', NULL),
	('res_01m8fvrsmy24y13nhd86pjzpvn', 'instance-sku', 'tenants/default', 'seca.ds', 'seca.compute/v1/tenants/default/skus/seca.ds', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 8, "vCPU": 2}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.462Z"}]', 1, 0, '758', 7, '2026-11-28 01:19:30.462+00', '2026-11-28 01:19:30.462+00', NULL),
	('res_01m8fvrsmzk0g1mngh5j8qb7k3', 'instance-sku', 'tenants/default', 'seca.dm', 'seca.compute/v1/tenants/default/skus/seca.dm', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 16, "vCPU": 4}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.463Z"}]', 1, 0, '758', 8, '2026-11-28 01:19:30.463+00', '2026-11-28 01:19:30.463+00', NULL),
	('res_01m8fvrsmze4mn5wxbxnc4kqsx', 'instance-sku', 'tenants/default', 'seca.dl', 'seca.compute/v1/tenants/default/skus/seca.dl', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 32, "vCPU": 8}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.463Z"}]', 1, 0, '758', 9, '2026-11-28 01:19:30.463+00', '2026-11-28 01:19:30.463+00', NULL),
	('res_01m8fvrsn043ve8ep5c4wnjt5a', 'instance-sku', 'tenants/default', 'seca.dxl', 'seca.compute/v1/tenants/default/skus/seca.dxl', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 64, "vCPU": 16}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.464Z"}]', 1, 0, '758', 10, '2026-11-28 01:19:30.464+00', '2026-11-28 01:19:30.464+00', NULL),
	('res_01m8fvrsn1jbxzjr7xx0vva2xq', 'instance-sku', 'tenants/default', 'seca.sxl', 'seca.compute/v1/tenants/default/skus/seca.sxl', 'default', NULL, NULL, '{}', '{}', '{}', '{"ram": 32, "vCPU": 16}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.465Z"}]', 1, 0, '758', 11, '2026-11-28 01:19:30.465+00', '2026-11-28 01:19:30.465+00', NULL),
	('res_01m8fvrsn1f2sqr0qf74jgfjza', 'instance-sku', 'tenants/default', 'virt8ra.pxs', 'seca.compute/v1/tenants/default/skus/virt8ra.pxs', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated"}', '{"ram": 1, "vCPU": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.465Z"}]', 1, 0, '758', 12, '2026-11-28 01:19:30.465+00', '2026-11-28 01:19:30.465+00', NULL),
	('res_01m8fvrsn2vv4xkkdkj24zj1dj', 'instance-sku', 'tenants/default', 'virt8ra.pm', 'seca.compute/v1/tenants/default/skus/virt8ra.pm', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated"}', '{"ram": 4, "vCPU": 2}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.466Z"}]', 1, 0, '758', 13, '2026-11-28 01:19:30.466+00', '2026-11-28 01:19:30.466+00', NULL),
	('res_01m8fvrsn5sq5mztzexgb0rp0s', 'instance-sku', 'tenants/default', 'virt8ra.pl', 'seca.compute/v1/tenants/default/skus/virt8ra.pl', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated"}', '{"ram": 8, "vCPU": 4}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.469Z"}]', 1, 0, '758', 14, '2026-11-28 01:19:30.469+00', '2026-11-28 01:19:30.469+00', NULL),
	('res_01m8fvrsn5bpk285car8p81yne', 'instance-sku', 'tenants/default', 'virt8ra.p2xl', 'seca.compute/v1/tenants/default/skus/virt8ra.p2xl', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated"}', '{"ram": 16, "vCPU": 8}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.469Z"}]', 1, 0, '758', 15, '2026-11-28 01:19:30.469+00', '2026-11-28 01:19:30.469+00', NULL),
	('res_01m8fvrsn6t9zkr6hn8wzkxvzq', 'instance-sku', 'tenants/default', 'virt8ra.p4xl', 'seca.compute/v1/tenants/default/skus/virt8ra.p4xl', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated"}', '{"ram": 64, "vCPU": 16}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.470Z"}]', 1, 0, '758', 16, '2026-11-28 01:19:30.47+00', '2026-11-28 01:19:30.47+00', NULL),
	('res_01m8fvrsn6tpx6xb3aqhvzxbwe', 'instance-sku', 'tenants/default', 'virt8ra.phxs', 'seca.compute/v1/tenants/default/skus/virt8ra.phxs', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "2Mi"}', '{"ram": 1, "vCPU": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.470Z"}]', 1, 0, '758', 17, '2026-11-28 01:19:30.47+00', '2026-11-28 01:19:30.47+00', NULL),
	('res_01m8fvrsn7s3q7wbgzfjpra8b6', 'instance-sku', 'tenants/default', 'virt8ra.phm', 'seca.compute/v1/tenants/default/skus/virt8ra.phm', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "2Mi"}', '{"ram": 4, "vCPU": 2}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.471Z"}]', 1, 0, '758', 18, '2026-11-28 01:19:30.471+00', '2026-11-28 01:19:30.471+00', NULL),
	('res_01m8fvrsn7mzs04h8fvd78mvtg', 'instance-sku', 'tenants/default', 'virt8ra.phl', 'seca.compute/v1/tenants/default/skus/virt8ra.phl', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "2Mi"}', '{"ram": 8, "vCPU": 4}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.471Z"}]', 1, 0, '758', 19, '2026-11-28 01:19:30.471+00', '2026-11-28 01:19:30.471+00', NULL),
	('res_01m8fvrsnab8gkw1y952fthr7s', 'instance-sku', 'tenants/default', 'virt8ra.ph2xl', 'seca.compute/v1/tenants/default/skus/virt8ra.ph2xl', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "2Mi"}', '{"ram": 16, "vCPU": 8}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.474Z"}]', 1, 0, '758', 20, '2026-11-28 01:19:30.474+00', '2026-11-28 01:19:30.474+00', NULL),
	('res_01m8fvrsnbe8p1fdvth1wggcw3', 'instance-sku', 'tenants/default', 'virt8ra.ph4xl', 'seca.compute/v1/tenants/default/skus/virt8ra.ph4xl', 'default', NULL, NULL, '{}', '{}', '{"virt8ra.cpu-policy": "dedicated", "virt8ra.huge-pages": "1Gi"}', '{"ram": 64, "vCPU": 16}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.475Z"}]', 1, 0, '758', 21, '2026-11-28 01:19:30.475+00', '2026-11-28 01:19:30.475+00', NULL),
	('res_01m8fvrsnbgbnp9j7vp4xxj34h', 'storage-sku', 'tenants/default', 'rd100', 'seca.storage/v1/tenants/default/skus/rd100', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 100, "type": "remote-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.475Z"}]', 1, 0, '758', 22, '2026-11-28 01:19:30.475+00', '2026-11-28 01:19:30.475+00', NULL),
	('res_01m8fvrsnb04yekme9tbepqs6n', 'storage-sku', 'tenants/default', 'rd500', 'seca.storage/v1/tenants/default/skus/rd500', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 500, "type": "remote-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.475Z"}]', 1, 0, '758', 23, '2026-11-28 01:19:30.475+00', '2026-11-28 01:19:30.475+00', NULL),
	('res_01m8fvrsnccrq9e685130pd2qd', 'storage-sku', 'tenants/default', 'rd2k', 'seca.storage/v1/tenants/default/skus/rd2k', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 2000, "type": "remote-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.476Z"}]', 1, 0, '758', 24, '2026-11-28 01:19:30.476+00', '2026-11-28 01:19:30.476+00', NULL),
	('res_01m8fvrsncxg6014ry842wahsw', 'storage-sku', 'tenants/default', 'rd10k', 'seca.storage/v1/tenants/default/skus/rd10k', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 10000, "type": "remote-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.476Z"}]', 1, 0, '758', 25, '2026-11-28 01:19:30.476+00', '2026-11-28 01:19:30.476+00', NULL),
	('res_01m8fvrsndgqdgtd5zxzvmhwyy', 'storage-sku', 'tenants/default', 'rd20k', 'seca.storage/v1/tenants/default/skus/rd20k', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 20000, "type": "remote-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.477Z"}]', 1, 0, '758', 26, '2026-11-28 01:19:30.477+00', '2026-11-28 01:19:30.477+00', NULL),
	('res_01m8fvrsnjseec4eryv2m6gvdt', 'storage-sku', 'tenants/default', 'ld100', 'seca.storage/v1/tenants/default/skus/ld100', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 100, "type": "local-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.482Z"}]', 1, 0, '758', 27, '2026-11-28 01:19:30.482+00', '2026-11-28 01:19:30.482+00', NULL),
	('res_01m8fvrsnkkqvzgqq0j4ne4w25', 'storage-sku', 'tenants/default', 'ld500', 'seca.storage/v1/tenants/default/skus/ld500', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 500, "type": "local-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.483Z"}]', 1, 0, '758', 28, '2026-11-28 01:19:30.483+00', '2026-11-28 01:19:30.483+00', NULL),
	('res_01m8fvrsnk285a1tfcf8jd0weq', 'storage-sku', 'tenants/default', 'ld5k', 'seca.storage/v1/tenants/default/skus/ld5k', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 5000, "type": "local-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.483Z"}]', 1, 0, '758', 29, '2026-11-28 01:19:30.483+00', '2026-11-28 01:19:30.483+00', NULL),
	('res_01m8fvrsnmxechxdq1t8cx38jk', 'storage-sku', 'tenants/default', 'ld20k', 'seca.storage/v1/tenants/default/skus/ld20k', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 20000, "type": "local-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.484Z"}]', 1, 0, '758', 30, '2026-11-28 01:19:30.484+00', '2026-11-28 01:19:30.484+00', NULL),
	('res_01m8fvrsnm6xmz8694fe2crch1', 'storage-sku', 'tenants/default', 'ld40k', 'seca.storage/v1/tenants/default/skus/ld40k', 'default', NULL, NULL, '{}', '{}', '{}', '{"iops": 40000, "type": "local-durable", "minVolumeSize": 1}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.484Z"}]', 1, 0, '758', 31, '2026-11-28 01:19:30.484+00', '2026-11-28 01:19:30.484+00', NULL),
	('res_01m8fvrsnnpvd5grn2zyadj8sn', 'network-sku', 'tenants/default', 'n1k', 'seca.network/v1/tenants/default/skus/n1k', 'default', NULL, NULL, '{}', '{}', '{}', '{"packets": 100000, "bandwidth": 1000}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.485Z"}]', 1, 0, '758', 32, '2026-11-28 01:19:30.485+00', '2026-11-28 01:19:30.485+00', NULL),
	('res_01m8fvrsnn2ah02fcd3q1z1qre', 'network-sku', 'tenants/default', 'n5k', 'seca.network/v1/tenants/default/skus/n5k', 'default', NULL, NULL, '{}', '{}', '{}', '{"packets": 500000, "bandwidth": 5000}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.485Z"}]', 1, 0, '758', 33, '2026-11-28 01:19:30.485+00', '2026-11-28 01:19:30.485+00', NULL),
	('res_01m8fvrsnpvssqfk709atkrmaj', 'network-sku', 'tenants/default', 'n10k', 'seca.network/v1/tenants/default/skus/n10k', 'default', NULL, NULL, '{}', '{}', '{}', '{"packets": 1000000, "bandwidth": 10000}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.486Z"}]', 1, 0, '758', 34, '2026-11-28 01:19:30.486+00', '2026-11-28 01:19:30.486+00', NULL),
	('res_01m8fvrsp2z4eqdvk19dcd67t9', 'role', 'tenants/default', 'seca.admin', 'seca.authorization/v1/tenants/default/roles/seca.admin', 'default', NULL, NULL, '{}', '{}', '{}', '{"permissions": [{"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.authorization", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.identity", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.workspace", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.compute", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.storage", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.network", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.loadbalancer", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.natgateway", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.kubernetes", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.objectstorage", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.image", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.migration", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.backup", "resources": ["*"]}]}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.498Z"}]', 1, 0, '760', 35, '2026-11-28 01:19:30.498+00', '2026-11-28 01:19:30.498+00', NULL),
	('res_01m8fvrsp6brm1c7hpvk4zp1hn', 'role', 'tenants/default', 'seca.region-admin', 'seca.authorization/v1/tenants/default/roles/seca.region-admin', 'default', NULL, NULL, '{}', '{}', '{}', '{"permissions": [{"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.workspace", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.compute", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.storage", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.network", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.loadbalancer", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.natgateway", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.kubernetes", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.image", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.migration", "resources": ["*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.backup", "resources": ["*"]}]}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.502Z"}]', 1, 0, '760', 36, '2026-11-28 01:19:30.502+00', '2026-11-28 01:19:30.502+00', NULL),
	('res_01m8fvrsp6sre59gqzepdxtfb7', 'role', 'tenants/default', 'seca.workspace-admin', 'seca.authorization/v1/tenants/default/roles/seca.workspace-admin', 'default', NULL, NULL, '{}', '{}', '{}', '{"permissions": [{"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.workspace", "resources": ["workspaces/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.compute", "resources": ["instances", "instances/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.storage", "resources": ["block-storages", "block-storages/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.network", "resources": ["networks", "networks/*", "internet-gateways", "internet-gateways/*", "route-tables", "route-tables/*", "subnets", "subnets/*", "public-ips", "public-ips/*", "security-group-rules", "security-group-rules/*", "security-groups", "security-groups/*", "nics", "nics/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.loadbalancer", "resources": ["network-load-balancers", "network-load-balancers/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.natgateway", "resources": ["internet-nat-gateway-instances", "internet-nat-gateway-instances/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.kubernetes", "resources": ["clusters", "clusters/*", "node-pools", "node-pools/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.objectstorage", "resources": ["accounts", "accounts/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.migration", "resources": ["migrations", "migrations/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.backup", "resources": ["backups", "backups/*", "backup-schedules", "backup-schedules/*", "snapshots", "snapshots/*"]}, {"verb": ["get", "list"], "provider": "seca.compute", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "seca.storage", "resources": ["skus", "skus/*", "images", "images/*"]}, {"verb": ["get", "list"], "provider": "seca.network", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.image", "resources": ["image-imports", "image-imports/*"]}]}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.502Z"}]', 1, 0, '760', 37, '2026-11-28 01:19:30.502+00', '2026-11-28 01:19:30.502+00', NULL),
	('res_01m8fvrsp7rbrsyz48ms2sewxt', 'role', 'tenants/default', 'seca.workspace-editor', 'seca.authorization/v1/tenants/default/roles/seca.workspace-editor', 'default', NULL, NULL, '{}', '{}', '{}', '{"permissions": [{"verb": ["get", "list"], "provider": "seca.workspace", "resources": ["workspaces/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.compute", "resources": ["instances", "instances/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.storage", "resources": ["block-storages", "block-storages/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.network", "resources": ["networks", "networks/*", "internet-gateways", "internet-gateways/*", "route-tables", "route-tables/*", "subnets", "subnets/*", "public-ips", "public-ips/*", "security-group-rules", "security-group-rules/*", "security-groups", "security-groups/*", "nics", "nics/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.loadbalancer", "resources": ["network-load-balancers", "network-load-balancers/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.natgateway", "resources": ["internet-nat-gateway-instances", "internet-nat-gateway-instances/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.kubernetes", "resources": ["clusters", "clusters/*", "node-pools", "node-pools/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "seca.objectstorage", "resources": ["accounts", "accounts/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.migration", "resources": ["migrations", "migrations/*"]}, {"verb": ["get", "list", "put", "delete", "post"], "provider": "virt8ra.backup", "resources": ["backups", "backups/*", "backup-schedules", "backup-schedules/*", "snapshots", "snapshots/*"]}, {"verb": ["get", "list"], "provider": "seca.compute", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "seca.storage", "resources": ["skus", "skus/*", "images", "images/*"]}, {"verb": ["get", "list"], "provider": "seca.network", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.image", "resources": ["image-imports", "image-imports/*"]}]}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.503Z"}]', 1, 0, '760', 38, '2026-11-28 01:19:30.503+00', '2026-11-28 01:19:30.503+00', NULL),
	('res_01m8fvrsp89bdft0q73b1ppjpy', 'role', 'tenants/default', 'seca.workspace-viewer', 'seca.authorization/v1/tenants/default/roles/seca.workspace-viewer', 'default', NULL, NULL, '{}', '{}', '{}', '{"permissions": [{"verb": ["get", "list"], "provider": "seca.workspace", "resources": ["workspaces/*"]}, {"verb": ["get", "list"], "provider": "seca.compute", "resources": ["instances", "instances/*"]}, {"verb": ["get", "list"], "provider": "seca.storage", "resources": ["block-storages", "block-storages/*"]}, {"verb": ["get", "list"], "provider": "seca.network", "resources": ["networks", "networks/*", "internet-gateways", "internet-gateways/*", "route-tables", "route-tables/*", "subnets", "subnets/*", "public-ips", "public-ips/*", "security-group-rules", "security-group-rules/*", "security-groups", "security-groups/*", "nics", "nics/*"]}, {"verb": ["get", "list"], "provider": "seca.loadbalancer", "resources": ["network-load-balancers", "network-load-balancers/*"]}, {"verb": ["get", "list"], "provider": "seca.natgateway", "resources": ["internet-nat-gateway-instances", "internet-nat-gateway-instances/*"]}, {"verb": ["get", "list"], "provider": "seca.kubernetes", "resources": ["clusters", "clusters/*", "node-pools", "node-pools/*"]}, {"verb": ["get", "list"], "provider": "seca.objectstorage", "resources": ["accounts", "accounts/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.migration", "resources": ["migrations", "migrations/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.backup", "resources": ["backups", "backups/*", "backup-schedules", "backup-schedules/*", "snapshots", "snapshots/*"]}, {"verb": ["get", "list"], "provider": "seca.compute", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "seca.storage", "resources": ["skus", "skus/*", "images", "images/*"]}, {"verb": ["get", "list"], "provider": "seca.network", "resources": ["skus", "skus/*"]}, {"verb": ["get", "list"], "provider": "virt8ra.image", "resources": ["image-imports", "image-imports/*"]}]}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.504Z"}]', 1, 0, '760', 39, '2026-11-28 01:19:30.504+00', '2026-11-28 01:19:30.504+00', NULL),
	('res_01m8fvrspnrbrhmqwtgp2abmzz', 'provider', '', 'arsys', 'virt8ra.topology/v1beta1/providers/arsys', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "ES", "displayName": "Arsys"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.517Z"}]', 1, 0, '761', 40, '2026-11-28 01:19:30.517+00', '2026-11-28 01:19:30.517+00', NULL),
	('res_01m8fvrspqg2wh53erx9rzna3e', 'provider', '', 'bit', 'virt8ra.topology/v1beta1/providers/bit', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "NL", "displayName": "BIT"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.519Z"}]', 1, 0, '761', 41, '2026-11-28 01:19:30.519+00', '2026-11-28 01:19:30.519+00', NULL),
	('res_01m8fvrspr0cyvkh9fzrg73ct1', 'provider', '', 'gdansk-university-of-technology', 'virt8ra.topology/v1beta1/providers/gdansk-university-of-technology', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "PL", "displayName": "Gdańsk University of Technology"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.520Z"}]', 1, 0, '761', 42, '2026-11-28 01:19:30.52+00', '2026-11-28 01:19:30.52+00', NULL),
	('res_01m8fvrspstx1b01fqa4m2f37d', 'provider', '', 'infobip', 'virt8ra.topology/v1beta1/providers/infobip', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "HR", "displayName": "Infobip"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.521Z"}]', 1, 0, '761', 43, '2026-11-28 01:19:30.521+00', '2026-11-28 01:19:30.521+00', NULL),
	('res_01m8fvrspt9ndg7qygvxkem5v4', 'provider', '', 'ionos', 'virt8ra.topology/v1beta1/providers/ionos', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "DE", "displayName": "IONOS"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.522Z"}]', 1, 0, '761', 44, '2026-11-28 01:19:30.522+00', '2026-11-28 01:19:30.522+00', NULL),
	('res_01m8fvrspvznnk960c71886s9f', 'provider', '', 'kontron', 'virt8ra.topology/v1beta1/providers/kontron', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "SI", "displayName": "Kontron"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.523Z"}]', 1, 0, '761', 45, '2026-11-28 01:19:30.523+00', '2026-11-28 01:19:30.523+00', NULL),
	('res_01m8fvrspwgnrbxne9e7j7t6d8', 'provider', '', 'mondragon', 'virt8ra.topology/v1beta1/providers/mondragon', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "ES", "displayName": "MONDRAGON"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.524Z"}]', 1, 0, '761', 46, '2026-11-28 01:19:30.524+00', '2026-11-28 01:19:30.524+00', NULL),
	('res_01m8fvrspxn9dstph0kx35qg03', 'provider', '', 'oktawave', 'virt8ra.topology/v1beta1/providers/oktawave', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "PL", "displayName": "Oktawave"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.525Z"}]', 1, 0, '761', 47, '2026-11-28 01:19:30.525+00', '2026-11-28 01:19:30.525+00', NULL),
	('res_01m8fvrt2g4vx3v9kh11vxsck9', 'workspace', 'tenants/default', 'shop', 'seca.workspace/v1/tenants/default/workspaces/shop', 'default', NULL, NULL, '{"env": "prod"}', '{}', '{}', '{}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.896Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:30.896Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:30.896Z"}]', 1, 0, '764', 48, '2026-11-28 01:19:30.896+00', '2026-11-28 01:19:30.896+00', NULL),
	('res_01m8fvrt3va26qtgmawavtat4q', 'provider', '', 'test', 'virt8ra.topology/v1beta1/providers/test', NULL, NULL, NULL, '{}', '{}', '{}', '{"legalSeat": "PL", "displayName": "Test"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.939Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:30.939Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:30.939Z"}]', 1, 0, '766', 49, '2026-11-28 01:19:30.939+00', '2026-11-28 01:19:30.939+00', NULL),
	('res_01m8fvrt4j233hhjkarks9yfa5', 'account', '', 'test', 'virt8ra.topology/v1beta1/accounts/test', NULL, NULL, NULL, '{}', '{}', '{}', '{"driver": "agent", "providerRef": "providers/test"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:30.962Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:30.962Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:30.962Z"}]', 1, 0, '768', 50, '2026-11-28 01:19:30.962+00', '2026-11-28 01:19:30.962+00', NULL),
	('res_01m8fvrt68kde4ahsq8y59vdrf', 'site', '', 'here', 'virt8ra.topology/v1beta1/sites/here', NULL, NULL, NULL, '{}', '{}', '{}', '{"tier": "edge", "country": "PL", "accountRef": "accounts/test"}', '{}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:31.016Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.016Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.016Z"}]', 1, 0, '770', 51, '2026-11-28 01:19:31.016+00', '2026-11-28 01:19:31.016+00', NULL),
	('res_01m8fvrt8g2hjnty8hh8de1feb', 'network', 'tenants/default/workspaces/shop', 'lan', 'seca.network/v1/tenants/default/workspaces/shop/networks/lan', 'default', 'shop', NULL, '{}', '{}', '{}', '{"cidr": {"ipv4": "10.30.0.0/24"}, "skuRef": "skus/n1k"}', '{"cidr": {"ipv4": "10.30.0.0/24"}}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:31.088Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.088Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.088Z"}]', 1, 0, '772', 52, '2026-11-28 01:19:31.088+00', '2026-11-28 01:19:31.088+00', NULL),
	('res_01m8fvrtbm9mfbcbnyj3ya8dq7', 'subnet', 'tenants/default/workspaces/shop/networks/lan', 'web', 'seca.network/v1/tenants/default/workspaces/shop/networks/lan/subnets/web', 'default', 'shop', 'lan', '{}', '{}', '{}', '{"cidr": {"ipv4": "10.30.0.0/26"}}', '{"cidr": {"ipv4": "10.30.0.0/26"}}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:31.188Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.188Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.188Z"}]', 1, 0, '775', 53, '2026-11-28 01:19:31.188+00', '2026-11-28 01:19:31.188+00', NULL),
	('res_01m8fvrtct5vztc4ksnsqx1ff8', 'nic', 'tenants/default/workspaces/shop', 'web', 'seca.network/v1/tenants/default/workspaces/shop/nics/web', 'default', 'shop', NULL, '{}', '{}', '{}', '{"addresses": ["0.0.0.0"], "subnetRef": "networks/lan/subnets/web"}', '{"addresses": ["10.30.0.2"], "macAddress": "02:66:8e:4d:d0:95"}', 'active', '[{"state": "active", "lastTransitionAt": "2026-11-28T01:19:31.226Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.226Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.226Z"}]', 1, 0, '779', 54, '2026-11-28 01:19:31.226+00', '2026-11-28 01:19:31.226+00', NULL),
	('res_01m8fvrtdznskzd9qq30jvctc5', 'instance', 'tenants/default/workspaces/shop', 'web', 'seca.compute/v1/tenants/default/workspaces/shop/instances/web', 'default', 'shop', NULL, '{}', '{}', '{"virt8ra.power": "on"}', '{"zone": "any", "skuRef": "skus/seca.xs", "bootVolume": {"deviceRef": "block-storages/root"}}', '{"powerState": "off"}', 'pending', '[{"type": "Placed", "state": "pending", "reason": "NothingFits", "message": "no site has a host yet; enrol one with: virt8ra enrol HOST --site SITE", "lastTransitionAt": "2026-11-28T01:19:31.289Z"}, {"type": "Placed", "state": "creating", "reason": "WaitingForPlacement", "lastTransitionAt": "2026-11-28T01:19:31.263Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.263Z"}]', 1, 0, '790', 57, '2026-11-28 01:19:31.263+00', '2026-11-28 01:19:31.263+00', NULL),
	('res_01m8fvrtd3wjm2314ab6qc6h8c', 'block-storage', 'tenants/default/workspaces/shop', 'root', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/root', 'default', 'shop', NULL, '{}', '{}', '{}', '{"sizeGB": 1, "skuRef": "skus/rd100"}', '{"sizeGB": 1}', 'active', '[{"type": "Placed", "state": "active", "reason": "WaitingForFirstConsumer", "message": "its place is chosen with the first instance that uses it", "lastTransitionAt": "2026-11-28T01:19:31.235Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.235Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.235Z"}]', 1, 0, '782', 55, '2026-11-28 01:19:31.235+00', '2026-11-28 01:19:31.235+00', NULL);
INSERT INTO public.resource_label VALUES
	('workspace', 'tenants/default', 'env', 'prod', 'shop');
INSERT INTO public.resource_reference VALUES
	('res_01m8fvrt4j233hhjkarks9yfa5', '/spec/providerRef', 'res_01m8fvrt3va26qtgmawavtat4q', '"providers/test"'),
	('res_01m8fvrt68kde4ahsq8y59vdrf', '/spec/accountRef', 'res_01m8fvrt4j233hhjkarks9yfa5', '"accounts/test"'),
	('res_01m8fvrt8g2hjnty8hh8de1feb', '/spec/skuRef', 'res_01m8fvrsnnpvd5grn2zyadj8sn', '"skus/n1k"'),
	('res_01m8fvrtbm9mfbcbnyj3ya8dq7', '/metadata/network', 'res_01m8fvrt8g2hjnty8hh8de1feb', '"networks/lan"'),
	('res_01m8fvrtct5vztc4ksnsqx1ff8', '/spec/subnetRef', 'res_01m8fvrtbm9mfbcbnyj3ya8dq7', '"networks/lan/subnets/web"'),
	('res_01m8fvrtct5vztc4ksnsqx1ff8', '/spec/subnetRef#network', 'res_01m8fvrt8g2hjnty8hh8de1feb', '"networks/lan"'),
	('res_01m8fvrtd3wjm2314ab6qc6h8c', '/spec/skuRef', 'res_01m8fvrsnbgbnp9j7vp4xxj34h', '"skus/rd100"'),
	('res_01m8fvrtdznskzd9qq30jvctc5', '/spec/skuRef', 'res_01m8fvrsmqpmexp5jqb51n2b1x', '"skus/seca.xs"'),
	('res_01m8fvrtdznskzd9qq30jvctc5', '/spec/bootVolume/deviceRef', 'res_01m8fvrtd3wjm2314ab6qc6h8c', '"block-storages/root"');
INSERT INTO public.tombstone VALUES
	('res_01m8fvrtevj6j1m50xy551zdkp', 'block-storage', 'tenants/default/workspaces/shop', 'gone', 'seca.storage/v1/tenants/default/workspaces/shop/block-storages/gone', 'default', 'shop', NULL, '{}', '{}', '{}', '{"sizeGB": 2, "skuRef": "skus/rd100"}', '{"sizeGB": 2}', 'deleting', '[{"state": "deleting", "lastTransitionAt": "2026-11-28T01:19:31.309Z"}, {"type": "Placed", "state": "active", "reason": "WaitingForFirstConsumer", "message": "its place is chosen with the first instance that uses it", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}, {"state": "creating", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}, {"state": "pending", "lastTransitionAt": "2026-11-28T01:19:31.291Z"}]', 1, 0, '800', 60, '2026-11-28 01:19:31.291+00', '2026-11-28 01:19:31.291+00', '2026-11-28 01:19:31.309+00', '2026-11-28 01:19:31.328+00');
INSERT INTO public.workspace_load VALUES
	('default', 'shop', 8, 4),
	('default', 'shop', 12, 2),
	('default', 'shop', 4, -1);
SELECT pg_catalog.setval('engine.fence', 6, true);
SELECT pg_catalog.setval('fleet.overlay_changed_id_seq', 1, false);
SELECT pg_catalog.setval('public.audit_seq_seq', 19, true);
SELECT pg_catalog.setval('public.feed_position', 60, true);
SELECT pg_catalog.setval('public.network_vni_number', 4097, false);
ALTER TABLE ONLY access.endpoint
    ADD CONSTRAINT endpoint_instance_port_key UNIQUE (instance, port);
ALTER TABLE ONLY access.endpoint
    ADD CONSTRAINT endpoint_pkey PRIMARY KEY (listen_port);
ALTER TABLE ONLY control.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (area, name);
ALTER TABLE ONLY control.plane
    ADD CONSTRAINT plane_pkey PRIMARY KEY (singleton);
ALTER TABLE ONLY engine.journal
    ADD CONSTRAINT journal_pkey PRIMARY KEY (run_id, "position");
ALTER TABLE ONLY engine.journal
    ADD CONSTRAINT journal_run_id_name_key UNIQUE (run_id, name);
ALTER TABLE ONLY engine.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (name);
ALTER TABLE ONLY engine.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);
ALTER TABLE ONLY engine.work
    ADD CONSTRAINT work_pkey PRIMARY KEY (key);
ALTER TABLE ONLY fleet.authority
    ADD CONSTRAINT authority_pkey PRIMARY KEY (id);
ALTER TABLE ONLY fleet.certificate
    ADD CONSTRAINT certificate_pkey PRIMARY KEY (fingerprint);
ALTER TABLE ONLY fleet.desired
    ADD CONSTRAINT desired_pkey PRIMARY KEY (host, type, key);
ALTER TABLE ONLY fleet.enrolment_token
    ADD CONSTRAINT enrolment_token_pkey PRIMARY KEY (hash);
ALTER TABLE ONLY fleet.host
    ADD CONSTRAINT host_pkey PRIMARY KEY (host);
ALTER TABLE ONLY fleet.link
    ADD CONSTRAINT link_pkey PRIMARY KEY (host);
ALTER TABLE ONLY fleet.observed
    ADD CONSTRAINT observed_pkey PRIMARY KEY (host, type, key);
ALTER TABLE ONLY fleet."overlay"
    ADD CONSTRAINT overlay_address_key UNIQUE (address);
ALTER TABLE ONLY fleet.overlay_changed
    ADD CONSTRAINT overlay_changed_pkey PRIMARY KEY (id);
ALTER TABLE ONLY fleet."overlay"
    ADD CONSTRAINT overlay_pkey PRIMARY KEY (host);
ALTER TABLE ONLY fleet.path_sample
    ADD CONSTRAINT path_sample_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.claim
    ADD CONSTRAINT claim_pkey PRIMARY KEY (resource_uid, role);
ALTER TABLE ONLY public.drain_move
    ADD CONSTRAINT drain_move_pkey PRIMARY KEY (migration_uid);
ALTER TABLE ONLY public.feed_floor
    ADD CONSTRAINT feed_floor_pkey PRIMARY KEY (single);
ALTER TABLE ONLY public.feed
    ADD CONSTRAINT feed_pkey PRIMARY KEY (xid, seq);
ALTER TABLE ONLY public.host_sample
    ADD CONSTRAINT host_sample_pkey PRIMARY KEY (host, at);
ALTER TABLE ONLY public.instance_power
    ADD CONSTRAINT instance_power_pkey PRIMARY KEY (instance_uid);
ALTER TABLE ONLY public.network_vni
    ADD CONSTRAINT network_vni_pkey PRIMARY KEY (resource_uid);
ALTER TABLE ONLY public.network_vni
    ADD CONSTRAINT network_vni_vni_key UNIQUE (vni);
ALTER TABLE ONLY public.nic_address
    ADD CONSTRAINT nic_address_pkey PRIMARY KEY (subnet_uid, address);
ALTER TABLE ONLY public.nic_free_range
    ADD CONSTRAINT nic_free_range_pkey PRIMARY KEY (subnet_uid, first);
ALTER TABLE ONLY public.nic_mac
    ADD CONSTRAINT nic_mac_mac_key UNIQUE (mac);
ALTER TABLE ONLY public.nic_mac
    ADD CONSTRAINT nic_mac_pkey PRIMARY KEY (nic);
ALTER TABLE ONLY public.preset
    ADD CONSTRAINT preset_pkey PRIMARY KEY (kind, name);
ALTER TABLE ONLY public.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (resource_uid);
ALTER TABLE ONLY public.public_address
    ADD CONSTRAINT public_address_pkey PRIMARY KEY (address);
ALTER TABLE ONLY public.public_address
    ADD CONSTRAINT public_address_public_ip_key UNIQUE (public_ip);
ALTER TABLE ONLY public.realization
    ADD CONSTRAINT realization_key_key UNIQUE (key);
ALTER TABLE ONLY public.realization
    ADD CONSTRAINT realization_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.resource
    ADD CONSTRAINT resource_kind_parent_name_key UNIQUE (kind, parent, name);
ALTER TABLE ONLY public.resource_label
    ADD CONSTRAINT resource_label_pkey PRIMARY KEY (kind, parent, key, value, name);
ALTER TABLE ONLY public.resource
    ADD CONSTRAINT resource_pkey PRIMARY KEY (uid);
ALTER TABLE ONLY public.resource_reference
    ADD CONSTRAINT resource_reference_pkey PRIMARY KEY (uid, pointer);
ALTER TABLE ONLY public.run_permit
    ADD CONSTRAINT run_permit_pkey PRIMARY KEY (instance_uid);
ALTER TABLE ONLY public.stream_ticket
    ADD CONSTRAINT stream_ticket_pkey PRIMARY KEY (hash);
ALTER TABLE ONLY public.tombstone
    ADD CONSTRAINT tombstone_pkey PRIMARY KEY (uid);
ALTER TABLE ONLY public.workspace_load
    ADD CONSTRAINT workspace_load_pkey PRIMARY KEY (tenant, workspace, part);
CREATE INDEX run_ended ON engine.run USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE UNIQUE INDEX run_idempotency ON engine.run USING btree (workflow, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE INDEX run_of_subject ON engine.run USING btree (subject, created_at);
CREATE UNIQUE INDEX run_one_live ON engine.run USING btree (subject) WHERE (ended_at IS NULL);
CREATE INDEX work_due ON engine.work USING btree (kind, due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX work_fair ON engine.work USING btree (kind, lane, due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX work_leased ON engine.work USING btree (lane) WHERE (leased_by IS NOT NULL);
CREATE INDEX certificate_by_host ON fleet.certificate USING btree (host, issued_at);
CREATE INDEX desired_by_key ON fleet.desired USING btree (key, type);
CREATE INDEX desired_by_vni ON fleet.desired USING btree ((((object ->> 'vni'::text))::integer)) WHERE ((type = 'network'::text) AND (object IS NOT NULL));
CREATE INDEX enrolment_token_by_host ON fleet.enrolment_token USING btree (host);
CREATE INDEX host_by_site ON fleet.host USING btree (site, host);
CREATE INDEX link_by_segment ON fleet.link USING btree ((((inventory -> 'overlay'::text) ->> 'segment'::text)));
CREATE INDEX observed_by_key ON fleet.observed USING btree (key, type);
CREATE INDEX path_sample_by_ends ON fleet.path_sample USING btree (from_host, to_host, at);
CREATE INDEX path_sample_by_receiver ON fleet.path_sample USING btree (to_host);
CREATE INDEX audit_position ON public.audit USING btree (xid, seq);
CREATE INDEX audit_resource ON public.audit USING btree (resource, xid, seq);
CREATE INDEX claim_by_host ON public.claim USING btree (host);
CREATE INDEX drain_move_by_run ON public.drain_move USING btree (run);
CREATE INDEX host_sample_at ON public.host_sample USING btree (at);
CREATE INDEX nic_address_of ON public.nic_address USING btree (nic);
CREATE INDEX public_address_site ON public.public_address USING btree (site);
CREATE UNIQUE INDEX realization_generation ON public.realization USING btree (resource_uid, generation, COALESCE(host, ''::text));
CREATE INDEX realization_host ON public.realization USING btree (host);
CREATE INDEX realization_site ON public.realization USING btree (site);
CREATE INDEX resource_anti_affinity ON public.resource USING btree (parent, ((spec ->> 'antiAffinityGroup'::text))) WHERE ((kind = 'instance'::text) AND ((spec ->> 'antiAffinityGroup'::text) IS NOT NULL));
CREATE INDEX resource_reference_target ON public.resource_reference USING btree (target_uid, uid);
CREATE INDEX role_assignment_subjects ON public.resource USING gin (((spec -> 'subs'::text))) WHERE (kind = 'role-assignment'::text);
CREATE INDEX stream_ticket_expiry ON public.stream_ticket USING btree (expires_at);
CREATE INDEX tombstone_position ON public.tombstone USING btree (kind, parent, name, uid);
CREATE INDEX tombstone_removed ON public.tombstone USING btree (removed_at);
CREATE TRIGGER resource_gone AFTER DELETE ON public.resource REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.count_workspace_load();
CREATE TRIGGER resource_made AFTER INSERT ON public.resource REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.count_workspace_load();
ALTER TABLE ONLY engine.journal
    ADD CONSTRAINT journal_run_id_fkey FOREIGN KEY (run_id) REFERENCES engine.run(id) ON DELETE CASCADE;
ALTER TABLE ONLY fleet.desired
    ADD CONSTRAINT desired_host_fkey FOREIGN KEY (host) REFERENCES fleet.host(host) ON DELETE CASCADE;
ALTER TABLE ONLY fleet.enrolment_token
    ADD CONSTRAINT enrolment_token_host_fkey FOREIGN KEY (host) REFERENCES fleet.host(host) ON DELETE CASCADE;
ALTER TABLE ONLY fleet.link
    ADD CONSTRAINT link_host_fkey FOREIGN KEY (host) REFERENCES fleet.host(host) ON DELETE CASCADE;
ALTER TABLE ONLY fleet.observed
    ADD CONSTRAINT observed_host_fkey FOREIGN KEY (host) REFERENCES fleet.host(host) ON DELETE CASCADE;
ALTER TABLE ONLY fleet."overlay"
    ADD CONSTRAINT overlay_host_fkey FOREIGN KEY (host) REFERENCES fleet.host(host) ON DELETE CASCADE;
ALTER TABLE ONLY fleet.path_sample
    ADD CONSTRAINT path_sample_from_host_fkey FOREIGN KEY (from_host) REFERENCES fleet.host(host) ON DELETE CASCADE;
ALTER TABLE ONLY fleet.path_sample
    ADD CONSTRAINT path_sample_to_host_fkey FOREIGN KEY (to_host) REFERENCES fleet.host(host) ON DELETE CASCADE;
ALTER TABLE ONLY public.progress
    ADD CONSTRAINT progress_resource_uid_fkey FOREIGN KEY (resource_uid) REFERENCES public.resource(uid) ON DELETE CASCADE;
ALTER TABLE ONLY public.resource_reference
    ADD CONSTRAINT resource_reference_uid_fkey FOREIGN KEY (uid) REFERENCES public.resource(uid) ON DELETE CASCADE;

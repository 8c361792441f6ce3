#!/bin/bash
# Runs inside the machine that tools/openstack-lab.sh makes, as its first process: configures, starts and keeps the services. Everything listens on 127.0.0.1.
set -euo pipefail
umask 022
here=127.0.0.1
region=lab
secret=lab-secret
state=/var/lib/lab
conf=/etc/lab
log=/var/log/lab
python=/usr/bin/python3
mkdir -p $state $conf $log /var/run
say() { echo "$(date +%T) $*"; }
until_ok() { # SECONDS COMMAND…
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { say "gave up on: $*"; exit 1; }
    sleep 0.3
  done
}
keep() { # NAME COMMAND…
  local name=$1; shift
  "$@" >>"$log/$name.log" 2>&1 </dev/null &
}
service() { # NAME MODULE ARGUMENT…
  local name=$1 module=$2; shift 2
  keep "$name" $python -c "import sys; sys.argv[0] = '$name'; from $module import main; sys.exit(main())" "$@"
}
manage() { # NAME MODULE ARGUMENT…
  local name=$1 module=$2; shift 2
  $python -c "import sys; sys.argv[0] = '$name'; from $module import main; sys.exit(main())" "$@" >>"$log/schemas.log" 2>&1
}
wsgi() { # NAME PORT FILE VARIABLE=VALUE…
  local name=$1 port=$2 file=$3; shift 3
  keep "$name" env "$@" uwsgi --plugin python3 --http-socket "$here:$port" --wsgi-file "$file" --master --die-on-term --processes 1 --threads 6 \
    --enable-threads --buffer-size 65535 --lazy-apps --need-app --disable-logging
}

# --- database and messages
socket=/run/mysqld/mysqld.sock
install -d -o mysql -g mysql /run/mysqld $state/mysql
if [ ! -d $state/mysql/mysql ]; then
  mariadb-install-db --no-defaults --user=mysql --datadir=$state/mysql --auth-root-authentication-method=normal --skip-test-db >"$log/mysql-install.log" 2>&1
fi
# Durability is not wanted of a lab.
keep mysql mariadbd --no-defaults --user=mysql --datadir=$state/mysql --socket=$socket --skip-networking --skip-log-bin --max-connections=500 \
  --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=128M --character-set-server=utf8mb3
install -d $state/rabbit
echo '[].' >$conf/rabbit-plugins
printf 'default_user = lab\ndefault_pass = lab\nloopback_users = none\n' >$conf/rabbitmq.conf
keep rabbit env RABBITMQ_NODENAME=lab@localhost RABBITMQ_MNESIA_BASE=$state/rabbit RABBITMQ_LOG_BASE=$log RABBITMQ_NODE_IP_ADDRESS=$here RABBITMQ_NODE_PORT=5672 \
  RABBITMQ_ENABLED_PLUGINS_FILE=$conf/rabbit-plugins RABBITMQ_CONFIG_FILE=$conf/rabbitmq RABBITMQ_PID_FILE=/run/rabbit.pid ERL_EPMD_ADDRESS=$here \
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} -setcookie lab +sbwt none +sbwtdcpu none +sbwtdio none' \
  "$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin | head -n 1)/rabbitmq-server"
until_ok 90 mariadb-admin --no-defaults -uroot -S $socket ping
for name in keystone glance placement nova_api nova nova_cell0 neutron; do echo "create database if not exists $name;"; done | mariadb --no-defaults -uroot -S $socket
say 'database'

# --- configuration
database() { echo "mysql+pymysql://root@localhost/$1?unix_socket=$socket&charset=utf8"; }
messages=rabbit://lab:lab@$here:5672/
as_user() { # USER
  printf '%s\n' "auth_url = http://$here:5000/v3" 'auth_type = password' "username = $1" "password = $secret" 'project_name = service' \
    'user_domain_id = default' 'project_domain_id = default' "region_name = $region"
}
checks_tokens() { # USER
  printf '%s\n' '[keystone_authtoken]' "www_authenticate_uri = http://$here:5000/v3"
  as_user "$1"
}
mkdir -p $state/{fernet,credential,images,staging,tasks,instances,nova,neutron,locks}
chmod 700 $state/fernet $state/credential
cat >$conf/keystone.conf <<END
[DEFAULT]
public_endpoint = http://$here:5000
[database]
connection = $(database keystone)
[token]
provider = fernet
[fernet_tokens]
key_repository = $state/fernet
[credential]
key_repository = $state/credential
END
cat >$conf/glance.conf <<END
[DEFAULT]
bind_host = $here
workers = 1
enabled_backends = files:file
[database]
connection = $(database glance)
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = $state/images
[os_glance_staging_store]
filesystem_store_datadir = $state/staging
[os_glance_tasks_store]
filesystem_store_datadir = $state/tasks
[paste_deploy]
flavor = keystone
config_file = $(find /opt/paste -name glance-api-paste.ini | head -n 1)
[oslo_concurrency]
lock_path = $state/locks
$(checks_tokens glance)
END
cat >$conf/placement.conf <<END
[placement_database]
connection = $(database placement)
[api]
auth_strategy = keystone
$(checks_tokens placement)
END
cat >$conf/nova.conf <<END
[DEFAULT]
my_ip = $here
host = lab-compute
transport_url = $messages
state_path = $state/nova
instances_path = $state/instances
compute_driver = libvirt.LibvirtDriver
enabled_apis = osapi_compute
osapi_compute_listen = $here
osapi_compute_workers = 1
reserved_host_memory_mb = 256
shutdown_timeout = 10
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
config_drive_format = iso9660
mkisofs_cmd = genisoimage
[wsgi]
api_paste_config = $(find /opt/paste -path '*nova*' -name api-paste.ini | head -n 1)
[workarounds]
disable_rootwrap = true
[api_database]
connection = $(database nova_api)
[database]
connection = $(database nova)
[conductor]
workers = 1
[scheduler]
workers = 1
[quota]
instances = 200
cores = 400
ram = 500000
[filter_scheduler]
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter
[glance]
endpoint_override = http://$here:9292
[placement]
$(as_user placement)
[neutron]
$(as_user neutron)
[service_user]
send_service_user_token = true
$(as_user nova)
[libvirt]
virt_type = qemu
cpu_mode = none
inject_partition = -2
num_pcie_ports = 4
[vnc]
enabled = false
[oslo_concurrency]
lock_path = $state/locks
$(checks_tokens nova)
END
cat >$conf/neutron.conf <<END
[DEFAULT]
host = lab-compute
bind_host = $here
core_plugin = ml2
service_plugins =
api_workers = 0
rpc_workers = 1
rpc_state_report_workers = 0
transport_url = $messages
state_path = $state/neutron
auth_strategy = keystone
dhcp_agent_notification = false
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
api_paste_config = $(find /opt/paste -path '*neutron*' -name api-paste.ini | head -n 1)
interface_driver = linuxbridge
[experimental]
linuxbridge = true
[database]
connection = $(database neutron)
[nova]
$(as_user nova)
[agent]
root_helper = sudo
report_interval = 10
[oslo_concurrency]
lock_path = $state/locks
[ml2]
type_drivers = local
tenant_network_types = local
mechanism_drivers = linuxbridge
[vxlan]
enable_vxlan = false
[securitygroup]
enable_security_group = true
firewall_driver = noop
$(checks_tokens neutron)
END

# --- schemas, once
if [ ! -e $state/schemas ]; then
  keystone-manage --config-file $conf/keystone.conf db_sync >>"$log/schemas.log" 2>&1
  keystone-manage --config-file $conf/keystone.conf fernet_setup --keystone-user root --keystone-group root >>"$log/schemas.log" 2>&1
  keystone-manage --config-file $conf/keystone.conf credential_setup --keystone-user root --keystone-group root >>"$log/schemas.log" 2>&1
  keystone-manage --config-file $conf/keystone.conf bootstrap --bootstrap-password $secret --bootstrap-region-id $region \
    --bootstrap-admin-url http://$here:5000/v3 --bootstrap-internal-url http://$here:5000/v3 --bootstrap-public-url http://$here:5000/v3 >>"$log/schemas.log" 2>&1
  (manage glance-manage glance.cmd.manage --config-file $conf/glance.conf db_sync
    OS_PLACEMENT_CONFIG_DIR=$conf placement-manage --config-file $conf/placement.conf db sync >>"$log/schemas.log" 2>&1
    manage neutron-db-manage neutron.db.migration.cli --config-file $conf/neutron.conf upgrade head) &
  others=$!
  manage nova-manage nova.cmd.manage --config-file $conf/nova.conf api_db sync
  manage nova-manage nova.cmd.manage --config-file $conf/nova.conf cell_v2 map_cell0 --database_connection "$(database nova_cell0)"
  manage nova-manage nova.cmd.manage --config-file $conf/nova.conf db sync
  manage nova-manage nova.cmd.manage --config-file $conf/nova.conf cell_v2 create_cell --name cell1
  wait $others
  touch $state/schemas
  say 'schemas'
fi

# --- identity, and in it users, services and endpoints
wsgi keystone 5000 /usr/bin/keystone-wsgi-public OS_KEYSTONE_CONFIG_FILES=$conf/keystone.conf OS_KEYSTONE_CONFIG_DIR=$conf
until_ok 90 curl -fsS http://$here:5000/v3
$python /lab/catalog.py http://$here:5000/v3 $secret $region
say 'identity'

# --- the hypervisor
mkdir -p /etc/libvirt /run/libvirt /var/lib/libvirt /var/cache/libvirt
getent passwd libvirt-qemu >/dev/null || useradd --system --no-create-home libvirt-qemu
getent group kvm >/dev/null || groupadd --system kvm
cat >/etc/libvirt/qemu.conf <<END
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
seccomp_sandbox = 0
END
printf 'auth_unix_rw = "none"\nunix_sock_group = "root"\nunix_sock_rw_perms = "0700"\nhost_uuid = "%s"\n' "$(cat /proc/sys/kernel/random/uuid)" >/etc/libvirt/libvirtd.conf
keep libvirt libvirtd
until_ok 60 virsh -c qemu:///system version

# --- the other services
until_ok 120 bash -c "exec 3<>/dev/tcp/$here/5672"
wsgi placement 8778 /usr/bin/placement-api OS_PLACEMENT_CONFIG_DIR=$conf
service neutron-server neutron.cmd.eventlet.server --config-file $conf/neutron.conf
service glance-api glance.cmd.api --config-file $conf/glance.conf
service nova-api nova.cmd.api --config-file $conf/nova.conf
service nova-conductor nova.cmd.conductor --config-file $conf/nova.conf
service nova-scheduler nova.cmd.scheduler --config-file $conf/nova.conf
until_ok 120 curl -fsS http://$here:8778/
service nova-compute nova.cmd.compute --config-file $conf/nova.conf
until_ok 120 curl -fsS http://$here:9696/
# The agent takes its name from the MAC of some interface.
ip link add lab0 type veth peer name lab1
ip link set lab0 up
ip link set lab1 up
# Its guard against foreign ARP makes rules for ebtables that some kernels cannot take away again; nothing here needs it.
keep linuxbridge $python -c "
import sys
sys.argv[0] = 'neutron-linuxbridge-agent'
from neutron.cmd.eventlet.plugins.linuxbridge_neutron_agent import main
from neutron.plugins.ml2.drivers.linuxbridge.agent import arp_protect
for name in ('setup_arp_spoofing_protection', 'delete_arp_spoofing_protection', 'delete_unreferenced_arp_protection'):
    setattr(arp_protect, name, lambda *words, **named: None)
sys.exit(main())" --config-file $conf/neutron.conf
until_ok 120 curl -fsS http://$here:9292/
$python /lab/catalog.py --await http://$here:5000/v3 $secret $region
manage nova-manage nova.cmd.manage --config-file $conf/nova.conf cell_v2 discover_hosts
say 'compute and network'
# An account as a user of the cloud has it: a project of its own and an application credential.
$python /lab/catalog.py --account http://$here:5000/v3 $secret $region >$log/access.new
mv $log/access.new $log/access.json
say 'up'
wait

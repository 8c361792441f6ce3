import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync, rmSync, readFileSync, existsSync } from 'node:fs';
const { libguestfsDisks } = await import('../../packages/agent/dist/guest-disks/libguestfs-disks.js');
const dir='.cache/debian-guest/journey'; 
const sh=(c,...a)=>{const r=spawnSync(c,a,{encoding:'utf8'}); if(r.status) throw new Error(c+r.stderr); return r.stdout;};
let t=Date.now(); const lap=(w)=>{console.log(w,Date.now()-t);t=Date.now();};
function seed(id){ const f=dir+'/seed-'+id; mkdirSync(f,{recursive:true}); writeFileSync(f+'/meta-data',`instance-id: ${id}\nlocal-hostname: wanderer\n`); writeFileSync(f+'/user-data','#cloud-config\n{}\n'); sh('genisoimage','-quiet','-output',f+'.iso','-volid','cidata','-joliet','-rock',f); return f+'.iso';}
async function boot(name, disks, extra){ const log=dir+'/'+name+'.log'; rmSync(log,{force:true});
 const args=['-machine','q35','-accel','tcg,thread=multi','-cpu','max','-smp','2','-m','768','-nodefaults','-display','none','-no-reboot','-serial','file:'+log,'-monitor','unix:'+dir+'/'+name+'.mon,server,nowait',...disks,...extra];
 const q=spawn('nice',['-n','19','qemu-system-x86_64',...args],{stdio:['ignore','inherit','inherit']}); const end=Date.now()+240000;
 for(;;){ await new Promise(r=>setTimeout(r,500)); const l=existsSync(log)?readFileSync(log,'utf8'):''; if(l.includes('who: done')||Date.now()>end||q.exitCode!==null) { if(q.exitCode===null){ await new Promise(r=>{import('node:net').then(({connect})=>{const c=connect(dir+'/'+name+'.mon',()=>{c.write('system_powerdown\n');setTimeout(r,500)});c.on('error',r)})}); const e2=Date.now()+60000; while(q.exitCode===null&&Date.now()<e2) await new Promise(r=>setTimeout(r,300)); q.kill('SIGKILL'); } const who=l.split('\n').filter(x=>/who:/.test(x)).map(x=>x.trim()); lap(name); console.log(who.join('\n')|| l.slice(-1500)); return who; } } }
if (process.argv[2]==='first') { rmSync(dir,{recursive:true,force:true}); mkdirSync(dir,{recursive:true}); sh('chmod','711',dir); for(const n of ['root','data']) sh('cp','.cache/debian-guest/disks/'+n+'.qcow2',dir+'/');
 // the source: virtio disks, MAC 01
 const a=seed('i-source');
 await boot('first',['-drive',`file=${dir}/root.qcow2,if=virtio,format=qcow2`,'-drive',`file=${dir}/data.qcow2,if=virtio,format=qcow2`,'-drive',`file=${a},if=virtio,format=raw,readonly=on`],['-netdev','user,id=n','-device','virtio-net-pci,netdev=n,mac=52:54:00:99:00:01']); }
if (process.argv[2]==='second') {
 const s=AbortSignal.timeout(280000);
 for(const n of ['root','data']) { rmSync(`${dir}/${n}-o.qcow2`,{force:true}); sh('qemu-img','create','-q','-f','qcow2','-F','qcow2','-b',n+'.qcow2',`${dir}/${n}-o.qcow2`); }
 const d=libguestfsDisks({directory:'.cache/debian-guest/state',runtimeDirectory:'.cache/debian-guest/run',accelerator:'tcg',root:true});
 const disks=['root','data'].map(n=>({files:[`${dir}/${n}-o.qcow2`,`${dir}/${n}.qcow2`]}));
 const target={architecture:'amd64',firmware:'bios',diskBus:'virtio-scsi',nics:[{mac:'52:54:00:99:00:02',was:'52:54:00:99:00:01',addresses:['10.99.0.5/24']}],identity:{datasource:'NoCloud',instanceId:'res_target'}};
 try { console.log((await d.prepare(disks,{target,changes:'make'},s)).map(c=>c.code+' '+c.file).join('\n')); } catch(e){console.log(e);} lap('prepare');
 if(process.argv[3]) process.exit(); const b=seed('res_target');
 await boot('second',['-device','virtio-scsi-pci','-drive',`file=${dir}/root-o.qcow2,if=none,id=r,format=qcow2`,'-device','scsi-hd,drive=r,bootindex=0','-drive',`file=${dir}/data-o.qcow2,if=none,id=d,format=qcow2`,'-device','scsi-hd,drive=d','-drive',`file=${b},if=none,id=c,format=raw,readonly=on`,'-device','scsi-cd,drive=c'],['-device','pcie-root-port,id=p1','-netdev','user,id=n','-device','virtio-net-pci,netdev=n,mac=52:54:00:99:00:02,bus=p1']);
}

package sim

import (
	"strings"
	"testing"
)

const goodBootCfg = "title=x\nkernel=b.b00\nkernelopt=runweasel ks=http://a/ks.cfg\nmodules=k.b00 --- s.v00 opt\nprefix=http://a/n\n"

func TestParseBootCfg(t *testing.T) {
	c, err := parseBootCfg([]byte(goodBootCfg))
	if err != nil || strings.Join(c.files, " ") != "http://a/n/b.b00 http://a/n/k.b00 http://a/n/s.v00" || c.ks != "http://a/ks.cfg" {
		t.Errorf("%+v, %v", c, err)
	}
	for what, text := range map[string]string{
		"a kernel with a leading /": strings.Replace(goodBootCfg, "=b.b00", "=/b.b00", 1),
		"no modules":                strings.Replace(goodBootCfg, "modules", "other", 1),
		"no prefix":                 strings.Replace(goodBootCfg, "prefix", "other", 1),
		"no answers":                strings.Replace(goodBootCfg, " ks=http://a/ks.cfg", "", 1),
	} {
		if _, err := parseBootCfg([]byte(text)); err == nil {
			t.Errorf("%s will do", what)
		}
	}
}

const goodKS = `# rackreach: rack r1, device server-01, ticket r1/server-01/1
vmaccepteula
rootpw --iscrypted $6$x
install --disk=naa.5
reboot
%pre --interpreter=python
if head != "0000000000000000000000000000000000000000000000000000000000000000" and holds != "foreign:head-1":
    stop()
%post --interpreter=python --ignorefailure=true
urllib.request.urlopen("http://a/native/t/report/installed", b"done", 30)
%firstboot --interpreter=busybox
vim-cmd hostsvc/start_ssh
`

func TestParseKS(t *testing.T) {
	k, err := parseKS([]byte(goodKS))
	if err != nil || k.ticket != "r1/server-01/1" || k.disk != "naa.5" || k.overwrites != "foreign:head-1" || k.report != "http://a/native/t/report" || !k.ssh {
		t.Errorf("%+v, %v", k, err)
	}
	for l := range strings.Lines(goodKS) {
		_, err := parseKS([]byte(strings.Replace(goodKS, l, "", 1)))
		needed := !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, "%pre") && !strings.HasPrefix(l, "%post") && !strings.HasPrefix(l, " ") && !strings.HasPrefix(l, "vim-cmd")
		if (err != nil) != needed {
			t.Errorf("without %q: %v", l, err)
		}
	}
}

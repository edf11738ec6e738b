//go:build arch

package arch

import (
	"cmp"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// exception is tests that can't run under qemu-user, or a whole package of them.
type exception struct {
	folder string
	tests  string // names, or "" for all
	why    string
}

func (e exception) String() string {
	return fmt.Sprintf("%s %s: %s", e.folder, cmp.Or(e.tests, "(all)"), e.why)
}

// Reasons for which tests are left out.
const (
	needsKernel = "what they ask the kernel for is in a form of their processor's, which qemu-user does not translate (netlink, eBPF); make test-vm ARCH=s390x has such a kernel"
	needsRun    = "they start programs of their own processor, which this machine can't without its emulator"
	needsProc   = "the namespace's file is of /proc/thread-self, which qemu-user has no thread in"
	needsSignal = "they start programs, and QEMU before 8 has the signal at their end look for its thread at the wrong place (fatal: bad g in signal handler)"
)

// leftOut is the same for all processors.
func leftOut() []exception {
	return []exception{
		{"tests", "", needsKernel},
		{"tests/bed", "", needsKernel},
		{"tests/shells", "", needsRun},
		{"bridge", "TestChange TestOtherHostAddress TestNotOurs TestBridgeGone TestPorts TestMTUStays TestPolicyDrop TestDockerComesLater TestDockerStays " +
			"TestPlanText TestPlanTextIsTrue TestUpAndDown TestTwoFans TestStopped TestFailed", needsKernel},
		{"cmd/fanatic", "TestUsage", needsKernel},
		{"cmd/fanctl", "TestFailure TestFeaturesOfThisKernel TestListWithoutFans TestOfAnother", needsKernel},
		{"internal/features", "TestInside TestPacket", needsKernel},
		{"internal/firewall", "TestTablesWithRules TestUpAndAway TestUndoOfAway TestFailure TestTidyLeavesWhatIsUsed TestLegacy TestMissing " +
			"TestObstaclesOnKernel TestObstaclesOfBridged TestObstaclesOverLegacy", needsKernel},
		{"internal/host", "TestChanges", needsKernel},
		{"internal/image", "TestNative", needsRun},
		{"internal/kernel", "TestLookRules", needsKernel},
		{"internal/namespace", "TestDoIsInside TestSocketsStayInside", needsProc},
		{"internal/probe", "TestPing TestSize TestTransfers TestRespondStrangers TestFindings", needsProc},
		{"tunnel/bpf", "TestSendMapsEveryHostAsGoDoes TestReceiveChecksEveryHostAsGoDoes TestReceiveMergesECN " +
			"TestReceiveLeavesOthersAlone TestNextHops TestInnerHeaderBehindOthers", needsKernel},
	}
}

// leftOut is what can't run with this processor's emulator here.
func (p processor) leftOut() []exception {
	all := leftOut()
	if p.arch == "386" && p.emulatorVersion() < 8 {
		for _, folder := range []string{"cmd/fanatic", "cmd/fanctl", "internal/dnsmasq", "internal/docker", "internal/image", "internal/lxd",
			"internal/manual", "internal/sysctl", "tests/bed/terminal"} {
			all = append(all, exception{folder, "", needsSignal})
		}
		all = append(all, exception{"internal/firewall", "TestCallOutOfCtrlC TestOverNFTables TestVersion", needsSignal})
	}
	return all
}

// emulatorVersion is the first number of QEMU's version.
func (p processor) emulatorVersion() int {
	out, _ := exec.Command(p.emulator, "--version").Output() // without an answer, the tests say what is wrong
	found := regexp.MustCompile(`version (\d+)\.`).FindSubmatch(out)
	if found == nil {
		return 0
	}
	version, _ := strconv.Atoi(string(found[1])) // they are digits
	return version
}

// whole says whether no test of a package can run.
func whole(all []exception, folder string) bool {
	return slices.ContainsFunc(all, func(e exception) bool { return e.folder == folder && e.tests == "" })
}

// skipPattern matches the tests of a package that are left out.
func skipPattern(all []exception, folder string) string {
	var names []string
	for _, e := range all {
		if e.folder == folder {
			names = append(names, strings.Fields(e.tests)...)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

package classify

import (
	"encoding/binary"
	"strconv"

	"github.com/rackreach/rackreach/internal/rack"
)

// ArchBIOS is the only architecture whose firmware needs PXE's own menu
// options to skip server discovery.
const ArchBIOS = "x86-bios"

// archNames are the processor architectures of option 93 that machines of a
// rack have (IANA; RFC 4578 printed 7 and 9 the wrong way round, its erratum
// and all firmware swap them, and some x64 firmware sends 9 all the same).
var archNames = map[int]string{
	0: ArchBIOS, 6: "x86-uefi", 7: "x86_64-uefi", 9: "x86_64-uefi", 10: "arm-uefi", 11: "arm64-uefi",
	15: "x86-uefi", 16: "x86_64-uefi", 18: "arm-uefi", 19: "arm64-uefi", 20: ArchBIOS,
	21: "arm-uboot", 22: "arm64-uboot", 23: "arm-uboot", 24: "arm64-uboot",
	25: "riscv32-uefi", 26: "riscv32-uefi", 27: "riscv64-uefi", 28: "riscv64-uefi",
	37: "loongarch32-uefi", 38: "loongarch32-uefi", 39: "loongarch64-uefi", 40: "loongarch64-uefi",
}

// archName names an architecture number; one that is not in the table keeps its
// number.
func archName(n int) string {
	if s, ok := archNames[n]; ok {
		return s
	}
	return "arch-" + strconv.Itoa(n)
}

// archStage is the stage of firmware that sent option 93 and no option 60.
func archStage(v *vendorStrings) rack.Stage {
	switch binary.BigEndian.Uint16(v.archs) {
	case 15, 16, 17, 18, 19, 20, 23, 24, 26, 28, 30, 38, 40:
		return rack.StageHTTPBoot
	}
	return rack.StagePXE
}

"""Order the passes: ours on the graph that torch.export made, then TVM's default lowering for a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import tvm
from tvm import relax

from harness.compiler.kernels.instrument import Instrumentation
from harness.compiler.objects import WeightFile
from harness.compiler.observe.provenance import Site
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.quality import Quality
from harness.compiler.passes.kernel_table import KernelTable
from harness.compiler.passes.p11_fold_arithmetic import FoldArithmetic
from harness.compiler.passes.p12_channels_last import ChannelsLast
from harness.compiler.passes.p20_fuse_patterns import FusePatterns
from harness.compiler.passes.p21_keep_bytes import KeepBytes
from harness.compiler.passes.p22_pack_weights import PackWeights
from harness.compiler.passes.p23_place_results import PlaceResults
from harness.compiler.passes.p24_merge_kernels import MergeKernels
from harness.compiler.passes.p31_fuse_ops import FuseOpsWithOrigins
from harness.compiler.passes.p32_find_reshapes import FindReshapes
from harness.compiler.passes.p33_count_work import CountWork
from harness.compiler.passes.p34_tune_rest import TuneRest
from harness.compiler.passes.p35_schedule_rest import ScheduleRest
from harness.compiler.passes.p36_hand_on_nan import HandOnNaN
from harness.compiler.passes.p41_link_weights import LinkWeights
from harness.compiler.passes.p42_record_sites import RecordSites
from harness.compiler.passes.p51_reuse_tensors import ReuseTensors
from harness.compiler.passes.p52_solve_extents import SolveExtents
from harness.compiler.passes.p53_trust_kernels import TrustKernels
from harness.compiler.passes.p54_attach_symbols import AttachSymbols
from harness.compiler.passes.p55_instrument_rest import InstrumentRest
from harness.compiler.schedule.tuning import Tuning
from harness.compiler.targets.profiles import Profile
from harness.protocol.schema import Precision


@dataclass(frozen=True)
class Recipe:
    """Hold what the pipeline needs besides the module."""

    profile: Profile
    precision: Precision
    prefix: str
    """The prefix of every symbol."""
    ops: OpTable
    """The fused operators that the importer put into the module."""
    results: Sequence[int | None] = ()
    """See :class:`harness.models.spec.ModelFunction`."""
    weights: WeightFile | None = None
    """The file of linked weights; None keeps them as constants."""
    schedule_rest: bool = True
    """True if functions without a template are scheduled. Otherwise they keep TVM's bare loops, for comparisons."""
    instrumentation: Instrumentation | None = None
    sites: list[Site] = field(default_factory=list)
    """Filled with the calls of kernels that the function makes."""
    shared_panels: bool = False
    """See :class:`harness.models.functions.ModelFunction`."""
    quality: Quality | None = None
    """The precision of single layers; None means that all have ``precision``."""


def pipeline(target: tvm.target.Target, recipe: Recipe, tuning: Tuning | None = None) -> tvm.transform.Pass:
    """Return all passes as one, in their order."""
    ops, profile = recipe.ops, recipe.profile
    quality = recipe.quality or Quality(recipe.precision)
    instrumentation = None if recipe.instrumentation is None else recipe.instrumentation.within(recipe.prefix)
    table = KernelTable(recipe.prefix, ops.origins, instrumentation=instrumentation)

    @tvm.transform.module_pass(opt_level=0, name="HarnessPipeline")
    def run(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        t = relax.transform
        passes = [
            relax.backend.DispatchSampling(),
            relax.backend.DispatchSortScan(),
            # 1: constants and layouts.
            FoldArithmetic(),
            *([ChannelsLast(ops.origins), FoldArithmetic()] if recipe.schedule_rest else []),
            # 2: kernels of our own.
            FusePatterns(ops),
            KeepBytes(profile, quality, ops),
            PackWeights(
                profile,
                quality,
                ops,
                table,
                shared_panels=recipe.shared_panels,
            ),
            PlaceResults(recipe.results, table),
            MergeKernels(table),
            t.DeadCodeElimination(),
            # 3: functions without a template.
            t.LegalizeOps(),
            t.AnnotateTIROpPattern(),
            t.FoldConstant(),
            FuseOpsWithOrigins(ops.origins),
            t.FuseTIR(),
            FindReshapes(table),
            CountWork(table),
            *([TuneRest(profile, target, table, tuning)] if tuning else []),
            *([ScheduleRest(profile, target, table.kernels)] if recipe.schedule_rest else []),
            HandOnNaN(table.kernels),
            # 4: the archive's contents. ToNonDataflow makes new variables, so sites are recorded before.
            *([] if recipe.weights is None else [LinkWeights(table, recipe.weights)]),
            RecordSites(table, recipe.sites),
            # 5: the virtual machine.
            t.ToNonDataflow(),
            t.RemovePurityChecking(),
            t.CallTIRRewrite(),
            t.StaticPlanBlockMemory(),
            ReuseTensors(),
            t.LowerAllocTensor(),
            t.KillAfterLastUse(),
            t.LowerRuntimeBuiltin(),
            t.ComputePrimValue(),
            SolveExtents(),
            t.VMShapeLower(),
            TrustKernels(table),
            AttachSymbols(table),
            InstrumentRest(table),
        ]
        with target:
            return tvm.transform.Sequential(passes)(module)

    return run

"""The whole network as one module that ``torch.export`` understands."""

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from efficientps_d2.deploy.export import with_static_padding
from efficientps_d2.deploy.optimize import optimize_for_inference
from efficientps_d2.deploy.whole import operations
from efficientps_d2.deploy.whole.fusion_operation import fuse
from efficientps_d2.modeling.fusion.shared import stuff_classes
from efficientps_d2.modeling.meta_arch.panoptic_segmentor import PanopticSegmentor


class WholeModel(nn.Module):
    """From an image to what ``Predictor`` says of it."""

    def __init__(self, model: PanopticSegmentor, cfg: CfgNode):
        """
        Args:
            model: in evaluation mode, on the CPU; it is not changed.
            cfg: with class counts.
        """
        super().__init__()
        model = with_static_padding(optimize_for_inference(model))
        model.to(memory_format=torch.contiguous_format)
        _give_biases(model)
        self.backbone, self.sem_seg_head = model.backbone, model.sem_seg_head
        rpn = model.proposal_generator
        self.rpn_head, self.anchor_generator = rpn.rpn_head, rpn.anchor_generator
        self.rpn_features, self.rpn_decoder = list(rpn.in_features), rpn.box2box_transform
        heads = model.roi_heads
        self.box_head, self.box_predictor = heads.box_head, heads.box_predictor
        self.mask_head = heads.mask_head
        self.box_features, self.mask_features = heads.box_in_features, heads.mask_in_features
        shapes = model.backbone.output_shape()
        self.strides = {name: shape.stride for name, shape in shapes.items()}
        self.poolers = heads.box_pooler, heads.mask_pooler
        things = list(cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS)
        classes = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        combine, bgr = cfg.MODEL.PANOPTIC_FPN.COMBINE, cfg.INPUT.FORMAT == "BGR"
        self.preparation = (
            *(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, model.backbone.size_divisibility),
            *(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, bgr),
        )
        self.proposal_limits = (
            *(rpn.nms_thresh, rpn.pre_nms_topk[False], rpn.post_nms_topk[False]),
            float(rpn.min_box_size),
        )
        predictor = self.box_predictor
        self.detection_limits = (
            *(predictor.test_score_thresh, predictor.test_nms_thresh),
            predictor.test_topk_per_image,
        )
        self.fusion = (
            *(combine.METHOD, things, stuff_classes(classes, things)),
            *(float(combine.SEMANTIC_WEIGHT), float(combine.MASK_LOGIT_SCALE)),
            combine.CONFINE_TO_BOX,
        )
        self.register_buffer("thing_class_ids", torch.tensor(things), persistent=False)

    def forward(
        self,
        image: Tensor,
        score_threshold: Tensor,
        overlap_threshold: Tensor,
        stuff_area_limit: Tensor,
    ) -> tuple[Tensor, ...]:
        """
        Args:
            image: (H, W, 3) uint8 RGB.
            score_threshold, overlap_threshold: () float32, of the fusion.
            stuff_area_limit: () int64, pixels.

        Returns:
            In the order of the runtime's ``OUTPUTS``: the first five of :func:`fuse`; boxes (N, 4)
            float32 in pixels, scores (N,), classes (N,) int64 contiguous, mask logits (N, M, M);
            and the semantic classes (H, W) uint8.
        """
        x, size = operations.prepare(image, *self.preparation)
        features = self.backbone(x)
        sem_seg = self.sem_seg_head.layers(features)
        boxes = self._proposals(features, size)
        boxes, scores, classes = self._detections(features, boxes, size)
        mask_logits = self._masks(features, boxes, classes)
        boxes = operations.scale_boxes(boxes, size, image)
        seen = (boxes[:, 2:] > boxes[:, :2]).all(dim=1).nonzero()[:, 0]
        boxes, scores, classes, mask_logits = (
            x[seen] for x in (boxes, scores, classes, mask_logits)
        )
        sem_seg = operations.enlarge(sem_seg, size, image, self.sem_seg_head.common_stride)
        *panoptic, labels = fuse(
            *(boxes, scores, classes, mask_logits, sem_seg),
            *(score_threshold, overlap_threshold, stuff_area_limit),
            *self.fusion,
        )
        classes = self.thing_class_ids[classes]
        return *panoptic, boxes, scores, classes, mask_logits, labels.to(torch.uint8)

    def _proposals(self, features: dict[str, Tensor], size: Tensor) -> Tensor:
        levels = [features[name] for name in self.rpn_features]
        logits, deltas = self.rpn_head(levels)
        boxes = []
        for anchors, delta in zip(self.anchor_generator(levels), deltas, strict=True):
            height, width = delta.shape[-2:]
            delta = delta.view(-1, 4, height, width).permute(2, 3, 0, 1).reshape(-1, 4)
            boxes.append(self.rpn_decoder.apply_deltas(delta, anchors.tensor))
        flat = [x[0].permute(1, 2, 0).reshape(-1) for x in logits]
        return operations.select_proposals(boxes, flat, size, *self.proposal_limits)

    def _pool(self, features, names, boxes: Tensor, pooler) -> Tensor:
        aligning = pooler.level_poolers[0]
        return operations.pool(
            [features[name] for name in names],
            boxes,
            [self.strides[name] for name in names],
            pooler.output_size[0],
            aligning.sampling_ratio,
            aligning.aligned,
            pooler.canonical_box_size,
            pooler.canonical_level,
        )

    def _detections(self, features, proposals: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        pooled = self._pool(features, self.box_features, proposals, self.poolers[0])
        logits, deltas = self.box_predictor(self.box_head(pooled))
        boxes = self.box_predictor.box2box_transform.apply_deltas(deltas, proposals)
        probabilities = logits.softmax(dim=-1)
        return operations.select_detections(boxes, probabilities, size, *self.detection_limits)

    def _masks(self, features, boxes: Tensor, classes: Tensor) -> Tensor:
        """(N, M, M) logits of the classes of the boxes."""
        pooled = self._pool(features, self.mask_features, boxes, self.poolers[1])
        logits = self.mask_head.layers(pooled)
        if logits.shape[1] == 1:
            return logits[:, 0]
        chosen = classes[:, None, None, None].expand(-1, 1, *logits.shape[-2:])
        return logits.gather(1, chosen)[:, 0]


def _give_biases(model: nn.Module) -> None:
    """Zeros where convolutions have none: the exporter computes them; 8 bits need parameters."""
    for module in model.modules():
        if isinstance(module, _ConvNd) and module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.out_channels), requires_grad=False)

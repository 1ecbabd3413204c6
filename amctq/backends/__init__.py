"""The engines that quantize: amctq's own, and Huawei's amct_mindspore."""
